"""Put sections on a page and write it: one file that asks for nothing else, with the same bytes for the same data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2

from homeo_rl.report.colours import places
from homeo_rl.report.page.blocks import Section
from homeo_rl.report.page.charts.svg import COLOURS
from homeo_rl.report.page.inputs import RecordedEpisode, Suites
from homeo_rl.report.page.report_data import ReportData
from homeo_rl.report.page.sections.certificates import conversions, reflexes
from homeo_rl.report.page.sections.curves import curves
from homeo_rl.report.page.sections.energy import energy
from homeo_rl.report.page.sections.homeostasis import homeostasis, recovery
from homeo_rl.report.page.sections.profiles import profiles
from homeo_rl.report.page.sections.provenance import facts, provenance, title
from homeo_rl.report.page.sections.robustness import forest, headline, heatmap
from homeo_rl.report.page.sections.spikes import spikes
from homeo_rl.report.page.sections.traces import Traces
from homeo_rl.report.page.sections.trajectories import drives
from homeo_rl.report.page.sections.videos import films
from homeo_rl.storage import bundle


@dataclass(frozen=True)
class Page:
    """What was written: the file, its size, and the titles of its sections."""

    path: Path
    size: int
    sections: tuple[str, ...]


def write_page(
    material: ReportData,
    out: Path,
    *,
    suites: Suites | None = None,
    specimens: Sequence[RecordedEpisode] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Write the page on ``material`` to ``out``.

    Args:
        material: runs and evaluations.
        out: the file; its folder must exist.
        suites: what is known of the suites' conditions.
        specimens: episodes that were played for it.
        notes: sentences on what was left out, besides the material's own.

    Raises:
        StorageFault: a file of a run is damaged, or the disk refused.
    """
    traces = Traces()
    coloured, groups = places(material.arms), [group.name for group in material.groups]

    def arm(name: str) -> int:
        return coloured.get(name, 0)

    def group(name: str) -> int:
        return 1 + groups.index(name) % (COLOURS - 1)  # 0 is the grey of the arm none

    found = [
        headline(material),
        curves(material, group),
        heatmap(material, suites or {}),
        forest(material, arm),
        profiles(material, arm),
        recovery(material, traces, suites or {}, specimens, arm),
        homeostasis(material, traces, suites or {}, arm),
        spikes(material, specimens, arm),
        drives(material),
        films(material, specimens),
        conversions(material),
        reflexes(material),
        energy(material, arm),
        provenance(material, [*material.notes, *notes]),
    ]
    sections = [section for section in found if section is not None]
    several = len(material.groups) > 1 or len(material.comparisons) > 1
    text = render(title=title(material), facts=facts(material, traces), sections=sections, several=several)
    blob = text.encode()
    bundle.replace(out, blob)
    return Page(out, len(blob), tuple(section.title for section in sections))


def render(
    *, title: str, facts: Sequence[tuple[str, Sequence[str]]], sections: Sequence[Section], several: bool
) -> str:
    """Return the page's text; ``several``: blocks of a section tell whose they are."""
    environment = _environment()
    # The page runs one script, known by its hash: what a name in a run's file might smuggle in would not run.
    script = hashlib.sha256(environment.get_template("script.js").render().encode()).digest()
    return environment.get_template("page.html.j2").render(
        title=title, facts=facts, sections=sections, several=several,
        script_hash="sha256-" + base64.b64encode(script).decode(),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("homeo_rl.report.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
