"""Episodes as moving pictures inside the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from homeo_rl.report.page.blocks import Section
from homeo_rl.report.page.data_uri import data_uri
from homeo_rl.report.page.inputs import RecordedEpisode
from homeo_rl.report.page.report_data import ReportData

MOST = 1_500_000
"""Bytes of a clip."""

_QUALITIES = (70, 50, 30)


@dataclass(frozen=True)
class Clip:
    """A moving picture, with a still one for paper and for readers who want no motion."""

    title: str
    about: str
    uri: str
    still: str
    width: int
    height: int


def webp(frames: Sequence[np.ndarray], pause: int, most: int = MOST) -> bytes:
    """Return frames [H, W, 3] as an animated WebP of at most ``most`` bytes: less fine first, then fewer pictures.

    Args:
        frames: pictures of one size.
        pause: milliseconds between two.
        most: bytes; a single picture may have more.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            pictures[0].save(
                file,
                "WEBP",
                save_all=True,
                append_images=pictures[1:],
                duration=pause,
                loop=0,
                quality=quality,
                method=2,
            )
            if file.tell() <= most or len(pictures) == 1:
                return file.getvalue()
        pictures, pause = pictures[::2], 2 * pause


def films(material: ReportData, specimens: Sequence[RecordedEpisode]) -> Section | None:
    """Return the section with clips; None where no pictures were asked for."""
    blocks = []
    for run in dict.fromkeys(one.run for one in specimens):
        mine = [one for one in specimens if one.run == run]
        clips = [_clip(one) for one in mine if len(one.frames)]
        missing = list(dict.fromkeys(f"No pictures: {one.missing}." for one in mine if one.missing))
        if clips or missing:
            blocks.append({"name": run, "clips": clips, "missing": missing})
    if not blocks:
        return None
    how = (
        "The first episode of the evaluation (a clean one where there is none), at the environment's own pace. Arms "
        "under the same damage met the same start and the same draw of damage."
    )
    return Section("clips", "Episodes to watch", how, "clips.html.j2", {"blocks": blocks})


def _clip(one: RecordedEpisode) -> Clip:
    still = io.BytesIO()
    middle = Image.fromarray(one.frames[len(one.frames) // 2])
    middle.save(still, "WEBP", quality=_QUALITIES[0], method=2)
    about = f"return {one.total:,.1f} in {len(one.rewards)} decisions"
    height, width = one.frames[0].shape[:2]
    return Clip(
        f"{one.condition}, {one.arm}", about, data_uri("image/webp", webp(one.frames, one.pause)),
        data_uri("image/webp", still.getvalue()), width, height,
    )  # fmt: skip
