"""A page with robots that can be damaged and repaired in a browser: physics, drawing and controller run there."""
