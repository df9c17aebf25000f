"""The formats of rl-zoo and Stable-Baselines3: hyper-parameter files and zips."""
