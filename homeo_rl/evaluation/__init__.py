"""Evaluation: the episode loop, calibration, and suites of damage with paired arms."""
