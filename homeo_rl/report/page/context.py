"""What every section is computed from: the data of the report, and the colours that all sections share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from homeo_rl.report.colours import COLOURS, colour_indices
from homeo_rl.report.page.blocks import Legend
from homeo_rl.report.page.report_data import Comparison, Damage, RecordedEpisode, ReportData, Suites
from homeo_rl.report.page.traces import Traces


@dataclass(frozen=True)
class PageContext:
    """The argument of every section."""

    data: ReportData
    suites: Suites = field(default_factory=dict)  # what is known of the conditions of the suites
    episodes: Sequence[RecordedEpisode] = ()
    notes: Sequence[str] = ()  # sentences on what was left out, besides those of ``data``
    traces: Traces = field(default_factory=Traces)  # reader of the TensorBoard traces, which caches what it read

    @cached_property
    def _arm_colours(self) -> dict[str, int]:
        return colour_indices(self.data.arms)

    def arm_colour(self, arm: str) -> int:
        """Return the index of an arm's colour."""
        return self._arm_colours.get(arm, 0)

    def group_colour(self, name: str) -> int:
        """Return the index of a group's colour; index 0 is the grey of the arm none."""
        return 1 + [group.name for group in self.data.groups].index(name) % (len(COLOURS) - 1)

    def legend(self, arms: Iterable[str]) -> Legend:
        """Return the legend of some arms."""
        return Legend(tuple((arm, self.arm_colour(arm)) for arm in dict.fromkeys(arms)))

    def damages(self, comparison: Comparison) -> Mapping[str, Damage]:
        """Return what is known of the conditions of a comparison, by label."""
        return self.suites.get(comparison.suite_hash, {})

    def late_damages(self, comparison: Comparison) -> dict[str, Damage]:
        """Return the conditions whose damage begins inside an episode, by label."""
        known = self.damages(comparison)
        return {label: known[label] for label in comparison.labels if label in known and known[label].onset > 0}
