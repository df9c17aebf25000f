"""Stable-Baselines3: policies, spaces, names, zips and vectorised environments."""
