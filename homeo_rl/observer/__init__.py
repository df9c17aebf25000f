"""Observers: a learned forward model, the faults that it shows, and estimates in the place of measurements."""
