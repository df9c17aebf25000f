"""The page's script in a browser: values on figures, arms and conditions that are chosen, clips that are paused."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import BINARY, Chromium
from test_report_runs import evaluate, synthetic, train
from torch.utils.tensorboard import SummaryWriter

from homeo_rl.report.colours import colour_indices
from homeo_rl.report.page import RecordedEpisode, collect, write_page
from homeo_rl.run import Run
from homeo_rl.storage import bundle

ARMS = ("none", "dwam", "sleep")
FRAMES, PAUSE = 12, 40  # of a clip; a frame's grey is 20 times its number
FIGURES = ("robustness", "differences", "profiles", "homeostasis", "spikes", "trajectories", "videos", "energy")
"""The sections that draw arms."""


def write_traces(run: Run) -> None:
    """Write a weight drift that ends at 0.1 for dwam and at 0.2 for sleep."""
    for name in ("noisy", "dead@0.5"):
        for gain, arm in enumerate(ARMS[1:], 1):
            with SummaryWriter(str(run.path / "tb" / "quick" / name / arm)) as writer:
                for step in range(0, 101, 20):
                    writer.add_scalar("homeo/drift/layer0", gain * step / 1000, step)
                    writer.add_scalar("homeo/rate_error/layer0", gain * step / 500, step)


def play(run: Run, arm: str, condition: str) -> RecordedEpisode:
    frames = [np.full((24, 32, 3), 20 * k, dtype=np.uint8) for k in range(FRAMES)]
    rates = (np.random.default_rng(len(arm)).random((30, 6)),)
    return RecordedEpisode(run=run.name, arm=arm, condition=condition, total=1.0, steps=5, rates=rates, pause=PAUSE,
                           frames=frames, rewards=np.ones(30), observations=np.zeros((30, 2)))  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train(synthetic(tmp_path_factory.mktemp("runs") / "a"), {10: [1.0, 2.0], 20: [3.0, 4.0]})
    figures = {"success": 1, "outcome": "success", "path_length": 3.0, "time": 2.0, "energy": 1e-8}
    evaluate(run, arms={"dwam": 300.0, "sleep": 150.0}, figures=lambda *_: figures)
    write_traces(run)
    episode = {"outcome": "success", "path": [[0.0, 0.0], [1.0, 1.0]]}
    cells = [
        {"condition": label, "arm": arm, "world": None,
         "episodes": [{**episode, "path": [[0.0, 0.0], [1.0, 1.0 + (arm == "sleep") + (label == "noisy")]]}]}
        for label in ("clean", "noisy", "dead@0.5") for arm in ARMS
    ]  # fmt: skip
    bundle.write_json(run.path / "evaluations" / "quick_1" / "paths.json", {"cells": cells})
    return run


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    episodes = [play(run, arm, label) for label in ("clean", "noisy", "dead@0.5") for arm in ARMS]
    written = write_page(collect([run]), tmp_path_factory.mktemp("page") / "page.html", episodes=episodes)
    return written.path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if BINARY is None:
        pytest.skip("no Chromium here (apt-get install chromium): the page's script was not run")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def chromium(browser: Chromium, page: Path) -> Iterator[Chromium]:
    """A browser with the page just opened; nothing may be logged, and nothing fetched, by what a test does."""
    browser.prefer()
    browser.resize(1280, 900)
    browser.console.clear()
    browser.requests.clear()
    browser.open(page.as_uri())
    yield browser
    assert browser.console == []
    assert [address for address in browser.requests if not address.startswith(("file:", "data:"))] == []


def scores(run: Run, arm: str, *labels: str) -> np.ndarray:
    """Read the returns of an arm under conditions from scores.csv, as any program would."""
    with (run.path / "evaluations" / "quick_1" / "scores.csv").open() as file:
        names = [label.partition("@")[0] for label in labels]
        return np.array(
            [float(r["return"]) for r in csv.DictReader(file) if r["arm"] == arm and r["condition"] in names]
        )


def hover(chromium: Chromium, query: str, x: float = 0.5, y: float = 0.5) -> str:
    """Move the mouse over an element, to shares of its width and height, and return what is said."""
    box = chromium.evaluate(f"""new Promise(done => {{
        const on = document.querySelector({json.dumps(query)});
        on.scrollIntoView({{ behavior: "instant", block: "center" }});
        requestAnimationFrame(() => requestAnimationFrame(() => {{  // scrolling hides what was said before
            const box = on.getBoundingClientRect();
            done([box.left, box.top, box.width, box.height]);
        }}));
    }})""")
    chromium.call(
        "Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + x * box[2], y=box[1] + y * box[3], button="none"
    )
    return str(chromium.evaluate("document.querySelector('.bubble').textContent"))


def tick(chromium: Chromium, *names: str) -> None:
    for name in names:
        chromium.evaluate(f"document.querySelector('.choices input[value=\"{name}\"]').click()")


def seen(chromium: Chromium, query: str) -> list[str]:
    """Return the texts of the elements that are drawn."""
    every = f"[...document.querySelectorAll({json.dumps(query)})].filter(e => e.getClientRects().length)"
    return [str(text).strip() for text in chromium.evaluate(f"{every}.map(e => e.innerText ?? e.textContent)")]


def test_a_cell_says_what_the_scores_are(chromium: Chromium, run: Run) -> None:
    clean = scores(run, "none", "clean").mean()
    for arm in ARMS:
        for label in ("clean", "noisy", "dead@0.5"):
            said = hover(chromium, f'#robustness tr[data-condition="{label}"] td[data-arm="{arm}"]')
            assert said.startswith(f"{arm}, {label}: 100 %; ")
            share = float(said.rpartition("; ")[2].removesuffix(" of clean"))
            assert share == pytest.approx(scores(run, arm, label).mean() / clean, abs=0.005)


def test_lines_say_what_the_scores_are(chromium: Chromium, run: Run) -> None:
    """The share of damaged episodes that return more than the threshold, wherever the mouse is."""
    clean = scores(run, "none", "clean").mean()
    distinct = set()
    for place in (0.2, 0.4, 0.6, 0.8):
        head, *lines = hover(chromium, "#profiles .sheet.wide", place).split("\n")
        threshold = float(head.removeprefix("return / none's mean clean return "))
        shares = {name: float(text.removesuffix(" %")) / 100 for name, text in (line.split(": ") for line in lines)}
        assert list(shares) == list(ARMS)
        for arm, share in shares.items():
            returns = scores(run, arm, "noisy", "dead@0.5") / clean
            # What is said is rounded, the threshold to a unit of its last digit.
            least, most = ((returns > threshold + move).mean() for move in (0.001, -0.001))
            assert least - 0.001 <= share <= most + 0.001
        distinct.add(tuple(shares.values()))
    assert len(distinct) == 4


def test_a_histogram_says_the_height_of_the_bin_below_the_mouse(chromium: Chromium, run: Run) -> None:
    tick(chromium, "none", "sleep")
    rates = play(run, "dwam", "noisy").rates[0].mean(axis=0)
    counts, edges = np.histogram(
        rates, np.linspace(0.0, max(play(run, a, "noisy").rates[0].mean(axis=0).max() for a in ARMS), 21)
    )
    k = int(counts.argmax())
    for share in (0.2, 0.8):  # of the bin's width, on either side of its middle
        left, right, width = 54, 350 - 16, 350
        at = (left + (k + share) / (len(edges) - 1) * (right - left)) / width
        assert f"dwam: {counts[k]}" in hover(chromium, "#spikes .sheet", at)


def test_an_arm_that_is_left_out_is_in_no_figure(chromium: Chromium) -> None:
    colour = colour_indices(ARMS)["dwam"]
    inside = ", ".join(f"#{name} {{}}" for name in FIGURES)
    drawn = ", ".join(f"#{name} .c{colour}" for name in FIGURES)
    assert set(FIGURES) <= set(chromium.evaluate("[...document.querySelectorAll('section')].map(s => s.id)"))
    before = {name: len(seen(chromium, f"#{name} .c{colour}, #{name} [data-arm=dwam]")) for name in FIGURES}
    assert all(before.values()), before
    tick(chromium, "dwam")
    assert chromium.evaluate("document.querySelector('.choices output').textContent") == "2 of 3"
    assert seen(chromium, drawn) == [], "its colour is nowhere"
    words = [
        text for text in seen(chromium, inside.replace("{}", "figcaption, svg text, td, th, li")) if "dwam" in text
    ]
    assert words == []
    assert seen(chromium, "#robustness thead th") == ["condition", "none", "sleep"]
    assert len(seen(chromium, "#profiles .sheet.wide .line[data-arm]")) == 2
    assert len(seen(chromium, "#profiles .sheet.wide .band")) == 2
    assert "dwam" not in hover(chromium, "#profiles .sheet.wide")
    assert set(seen(chromium, ".forest tbody tr:not(.again) th")) == {"noisy", "dead@0.5", "all 2 conditions"}
    assert chromium.evaluate("document.querySelectorAll('.forest tr.again:not(.off)').length") == 0
    tick(chromium, "dwam")
    assert {name: len(seen(chromium, f"#{name} .c{colour}, #{name} [data-arm=dwam]")) for name in FIGURES} == before


def test_conditions_are_picked(chromium: Chromium) -> None:
    chromium.evaluate("document.querySelectorAll('[data-all=no]')[1].click()")
    tick(chromium, "noisy")
    assert chromium.evaluate("document.querySelectorAll('.choices output')[1].textContent") == "1 of 3"
    assert seen(chromium, "#robustness tbody th") == ["noisy"]
    assert set(seen(chromium, "#differences tbody tr:not(.again) th")) == {"noisy", "all 2 conditions"}
    assert seen(chromium, "#homeostasis .chart figcaption") == ["noisy"] * 2
    assert [text.partition(",")[0] for text in seen(chromium, "#videos figcaption")] == ["noisy"] * 3
    assert seen(chromium, "#trajectories h4") == ["noisy"]
    tick(chromium, "noisy", "clean")
    assert seen(chromium, "#homeostasis .chart") == []
    assert (
        chromium.evaluate("getComputedStyle(document.querySelector('#homeostasis .charts'), '::after').content")
        == '"Nothing of what is chosen."'
    )
    chromium.evaluate("document.querySelectorAll('[data-all=yes]')[1].click()")
    assert len(seen(chromium, "#robustness tbody th")) == 3


def test_the_keyboard_reaches_values_and_choices(chromium: Chromium) -> None:
    chromium.evaluate("document.querySelector('#learning .sheet.wide').focus()")
    chromium.press("ArrowRight")
    said = "document.querySelector('.bubble').textContent"
    assert chromium.evaluate(said) == "popsan, 10 steps: mean 1.50, 1.00 to 2.00"
    chromium.press("ArrowRight")
    chromium.press("ArrowRight")
    assert chromium.evaluate(said) == "popsan, 20 steps: mean 3.50, 3.00 to 4.00"
    chromium.press("Escape")
    assert chromium.evaluate(said) == ""
    chromium.evaluate("document.querySelector('#homeostasis .sheet').focus()")
    chromium.press("End")
    assert chromium.evaluate(said) == "decisions 100\ndwam: 10\nsleep: 20"
    chromium.evaluate("document.querySelector('.choices summary').focus()")
    chromium.press(" ")
    assert chromium.evaluate("document.querySelector('.choices details').open")
    chromium.evaluate("document.querySelector('.choices input').focus()")
    chromium.press(" ")
    assert seen(chromium, "#robustness thead th") == ["condition", "dwam", "sleep"]
    chromium.press("Escape")
    assert not chromium.evaluate("document.querySelector('.choices details').open")
    assert chromium.evaluate("document.activeElement.tagName") == "SUMMARY"


def wait_for(chromium: Chromium, condition: str) -> None:
    end = time.monotonic() + 20
    while not chromium.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


SHADE = """(() => { const one = new OffscreenCanvas(32, 24).getContext("2d", { willReadFrequently: true });
one.drawImage(document.querySelector(".video canvas"), 0, 0); return one.getImageData(9, 9, 1, 1).data[0]; })()"""


def test_clips_are_paused_and_shown_frame_by_frame(chromium: Chromium) -> None:
    chromium.evaluate("document.querySelector('.video').scrollIntoView({behavior: 'instant'})")
    wait_for(chromium, "document.querySelector('.video canvas')?.getClientRects().length")
    wait_for(chromium, "Number(document.querySelector('.clip input').value) > 2")
    assert chromium.evaluate("document.querySelector('.clip button').textContent") == "Pause"
    chromium.evaluate("document.querySelector('.clip button').click()")
    frame = int(chromium.evaluate("document.querySelector('.clip input').value"))
    wait_for(chromium, f"Math.abs({SHADE} - {20 * frame}) < 8")
    time.sleep(5 * PAUSE / 1000)
    assert int(chromium.evaluate("document.querySelector('.clip input').value")) == frame
    assert chromium.evaluate("document.querySelector('.clip button').textContent") == "Play"
    assert int(chromium.evaluate("document.querySelector('.clip input').max")) == FRAMES - 1
    for wanted in (9, 4):
        chromium.evaluate(
            f"(e => {{ e.value = {wanted}; e.dispatchEvent(new Event('input')); }})"
            "(document.querySelector('.clip input'))"
        )
        wait_for(chromium, f"Math.abs({SHADE} - {20 * wanted}) < 8")
    chromium.evaluate("document.querySelector('.clip button').click()")
    wait_for(chromium, "Number(document.querySelector('.clip input').value) !== 4")


def test_who_prefers_calm_gets_still_clips(chromium: Chromium, page: Path) -> None:
    chromium.prefer(prefers_reduced_motion="reduce")
    chromium.open(page.as_uri())
    chromium.evaluate("document.querySelector('.video').scrollIntoView({behavior: 'instant'})")
    wait_for(chromium, "document.querySelector('.video canvas')?.getClientRects().length")
    assert chromium.evaluate("document.querySelector('.clip button').textContent") == "Play"
    time.sleep(5 * PAUSE / 1000)
    assert int(chromium.evaluate("document.querySelector('.clip input').value")) == (FRAMES - 1) // 2


def test_without_decoder_a_still_takes_the_place_of_a_clip(chromium: Chromium, page: Path) -> None:
    script = chromium.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.ImageDecoder")
    chromium.open(page.as_uri())
    chromium.evaluate("document.querySelector('.video').scrollIntoView({behavior: 'instant'})")
    moving = "document.querySelector('.video img').currentSrc === document.querySelector('.video img').src"
    assert chromium.evaluate(moving)
    chromium.evaluate("document.querySelector('.clip button').click()")
    wait_for(chromium, f"!({moving})")
    assert seen(chromium, ".clip input") == []
    chromium.evaluate("document.querySelector('.clip button').click()")
    wait_for(chromium, moving)
    chromium.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


@pytest.mark.parametrize("width", [360, 700])
def test_panels_lie_in_the_window_of_a_phone(chromium: Chromium, width: int) -> None:
    chromium.resize(width, 740, phone=True)
    for k in range(2):
        chromium.evaluate(f"document.querySelectorAll('.choices details')[{k}].open = true")
        left, right = chromium.evaluate(
            f"(b => [b.left, b.right])(document.querySelectorAll('.panel')[{k}].getBoundingClientRect())"
        )
        assert left >= 0
        assert right <= width
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width


def test_without_script_everything_is_shown(browser: Chromium, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=page.as_uri())
        wait_for(browser, "document.readyState === 'complete' && document.querySelector('.video') !== null")
        assert seen(browser, ".choices, .clip, .theme") == []
        assert len(seen(browser, "#robustness td b")) == 9
        assert len(seen(browser, ".video img")) == 9
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
