"""Studies: many policies under many kinds of damage, each episode exactly once, and what it says about the arms."""
