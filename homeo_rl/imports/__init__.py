"""How modules are found: on first use, under an older name, in a user's own folder."""
