"""Image networks and data that conversions are shown on."""
