"""Episodes as videos inside the page."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from homeo_rl.report.page.blocks import Section, block_section, data_uri
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import RecordedEpisode

MAX_BYTES = 1_500_000  # size of a video

_QUALITIES = (70, 50, 30)


@dataclass(frozen=True)
class Video:
    """A video, with a still picture for paper and for readers who prefer reduced motion."""

    arm: str
    condition: str
    about: str
    uri: str
    still: str
    width: int
    height: int


def videos(context: PageContext) -> Section | None:
    """Return the section with videos; None where none was asked for."""
    blocks = []
    for run in dict.fromkeys(episode.run for episode in context.episodes):
        episodes = [episode for episode in context.episodes if episode.run == run]
        clips = [_video(episode) for episode in episodes if len(episode.frames)]
        missing = list(dict.fromkeys(f"No video: {episode.missing}." for episode in episodes if episode.missing))
        if clips or missing:
            blocks.append({"name": run, "videos": clips, "missing": missing})
    how = (
        "The first episode of the evaluation (a clean one without an evaluation), at the environment's own pace. Arms "
        "under the same damage share the initial state and the damage draw."
    )
    return block_section("videos", "Videos of episodes", how, "videos.html.j2", blocks)


def webp(frames: Sequence[np.ndarray], pause: int, max_bytes: int = MAX_BYTES) -> bytes:
    """Return frames [H, W, 3] as an animated WebP: first the quality is lowered, then every other frame is dropped.

    ``max_bytes``: size of the file; a single picture may exceed it.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            animation = {"save_all": True, "append_images": pictures[1:], "duration": pause, "loop": 0}
            pictures[0].save(file, "WEBP", quality=quality, method=2, **animation)
            if file.tell() <= max_bytes or len(pictures) == 1:
                return file.getvalue()
        pictures, pause = pictures[::2], 2 * pause


def _video(episode: RecordedEpisode) -> Video:
    still = io.BytesIO()
    middle = Image.fromarray(episode.frames[len(episode.frames) // 2])
    middle.save(still, "WEBP", quality=_QUALITIES[0], method=2)
    height, width = episode.frames[0].shape[:2]
    return Video(
        episode.arm,
        episode.condition,
        f"return {episode.total:,.1f} in {len(episode.rewards)} decisions",
        data_uri("image/webp", webp(episode.frames, episode.pause)),
        data_uri("image/webp", still.getvalue()),
        width,
        height,
    )
