"""The commands, one file each: the flags, and a function that calls, prints, and returns what ``--json`` prints."""
