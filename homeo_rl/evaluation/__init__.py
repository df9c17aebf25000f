"""Evaluation: the episode loop, calibration, and suites of damage with paired arms."""

from homeo_rl.evaluation.calibrate import Calibration, calibration_of
from homeo_rl.evaluation.evaluate import Result, evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.evaluation.scores import Score

__all__ = ["Calibration", "Plan", "Result", "Score", "calibration_of", "evaluate", "rollout"]
