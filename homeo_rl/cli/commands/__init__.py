"""What each command does, a file a command: call, print, return what ``--json`` prints."""
