"""Child processes: a pool, its supervisor, signals, and tasks by dotted name."""
