"""Imports on first use, under an older name, from a user's own folder, and actions after an import."""
