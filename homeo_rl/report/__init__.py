"""Reports: statistics, tables and pictures of scores. Nothing here loads torch."""

from homeo_rl.report.build import Report, build
from homeo_rl.report.episodes import read_scores
from homeo_rl.report.evaluations import latest_evaluation
from homeo_rl.report.statistics import Cell, Difference, cells, differences

__all__ = ["Cell", "Difference", "Report", "build", "cells", "differences", "latest_evaluation", "read_scores"]
