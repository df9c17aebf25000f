"""Sweeps: a grid of trainings times seeds, each cell exactly once, on this machine or on a Ray cluster."""
