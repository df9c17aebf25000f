"""Numbers and values: limits, checked arguments, compiled loops. No torch here."""
