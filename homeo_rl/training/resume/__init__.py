"""Exact resume: snapshots of a training, and what restores them."""
