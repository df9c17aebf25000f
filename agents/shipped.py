"""Trained agents that come with the package; the code is `homeo_rl.shipped`, which runs are opened with."""

from homeo_rl.shipped import FOLDER, copied, copy_pretrained, pretrained_names

__all__ = ["FOLDER", "copied", "copy_pretrained", "pretrained_names"]
