"""Write the sections as one self-contained HTML file; the same data give the same bytes."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2

from homeo_rl.report.page.blocks import Section
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import RecordedEpisode, ReportData, Suites
from homeo_rl.report.page.sections.certificates import conversions
from homeo_rl.report.page.sections.curves import curves
from homeo_rl.report.page.sections.energy import energy
from homeo_rl.report.page.sections.forest import forest
from homeo_rl.report.page.sections.headline import headline
from homeo_rl.report.page.sections.heatmap import heatmap
from homeo_rl.report.page.sections.homeostasis import homeostasis
from homeo_rl.report.page.sections.observer import observer
from homeo_rl.report.page.sections.profiles import profiles
from homeo_rl.report.page.sections.provenance import facts, provenance, title
from homeo_rl.report.page.sections.recovery import recovery
from homeo_rl.report.page.sections.reflexes import reflexes
from homeo_rl.report.page.sections.spikes import spikes
from homeo_rl.report.page.sections.trajectories import trajectories
from homeo_rl.report.page.sections.videos import videos
from homeo_rl.storage import bundle

SECTIONS: tuple[Callable[[PageContext], Section | None], ...] = (
    headline,
    curves,
    heatmap,
    forest,
    profiles,
    recovery,
    homeostasis,
    observer,
    spikes,
    trajectories,
    videos,
    conversions,
    reflexes,
    energy,
    provenance,
)
"""The sections in the order of the page; each returns None where the data hold nothing for it."""


@dataclass(frozen=True)
class Page:
    """The file that was written, its size in bytes, and the titles of its sections."""

    path: Path
    size: int
    sections: tuple[str, ...]


def write_page(
    data: ReportData,
    out: Path,
    *,
    suites: Suites | None = None,
    episodes: Sequence[RecordedEpisode] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Write the page. Raises StorageFault: a file of a run is damaged, or the file cannot be written."""
    context = PageContext(data, suites or {}, episodes, notes)
    sections = [section for build in SECTIONS if (section := build(context)) is not None]
    content = _render(context, sections).encode()
    bundle.replace(out, content)
    return Page(out, len(content), tuple(section.title for section in sections))


def _render(context: PageContext, sections: Sequence[Section]) -> str:
    environment, data = _environment(), context.data
    # The page runs one script, identified by its hash: a script inside a name of a run's file would not run.
    script = hashlib.sha256(environment.get_template("script.js").render().encode()).digest()
    return environment.get_template("page.html.j2").render(
        title=title(data),
        facts=facts(context),
        sections=sections,
        arms=context.legend(data.arms).entries,
        conditions=[(label, None) for label in data.labels],
        several=len(data.groups) > 1 or len(data.comparisons) > 1,  # blocks of a section are then titled
        script_hash="sha256-" + base64.b64encode(script).decode(),
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("homeo_rl.report.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
