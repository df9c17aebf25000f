"""Reports: statistics, tables and pictures of scores. Nothing here loads torch."""

from homeo_rl.report.build import Report, build, latest_evaluation
from homeo_rl.report.statistics import Cell, Difference, cells, differences, read_scores

__all__ = [
    "Cell",
    "Difference",
    "Report",
    "build",
    "cells",
    "differences",
    "latest_evaluation",
    "read_scores",
]
