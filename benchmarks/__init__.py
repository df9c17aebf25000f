"""Benchmarks: commands, `python -m benchmarks.NAME [--json]`, that time us beside peers and limits."""
