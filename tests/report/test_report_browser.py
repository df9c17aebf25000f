"""Pages in a real browser: nothing on the console, nothing fetched, no sideways scrolling; pictures of them to look at.

HOMEO_RL_ARTIFACTS names a folder for the pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_report_runs import evaluate, synthetic, train

from homeo_rl.report.page import collect, write_page
from homeo_rl.run import Run

Browse = Callable[..., tuple[str, str]]

MEASURE = """<script>addEventListener("load", function () {
  var wide = document.documentElement.clientWidth, late = [];
  document.querySelectorAll("main *").forEach(function (e) {
    var box = e.getBoundingClientRect();
    var scrolls = e.closest(wide > 700 ? ".scroll, .hidden, svg" : ".hidden, svg");  // a phone cuts off no arm
    if (box.right > wide + 1 && !scrolls) late.push(e.tagName + "." + e.className);
  });
  parent.postMessage("measured " + document.documentElement.scrollWidth + " " + wide + " " + late.join(","), "*");
});</script>"""
"""Tells the width of the page and of its frame, and what reaches beyond it outside boxes that scroll."""

FRAME = """<!doctype html><title></title><script>addEventListener("message", function (e) { document.title = e.data; });
</script><iframe src="measured.html" style="border: 0; width: WIDTHpx; height: 900px"></iframe>"""
"""A page in a window of any width; the browser's own are no narrower than 500 pixels."""


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Return a function that opens a page in headless Chromium, and gives its final HTML and what was logged."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("no Chromium here (apt-get install chromium): pages were not opened in a browser")

    def run(page: Path, *flags: str, size: tuple[int, int] = (1280, 2400)) -> tuple[str, str]:
        profile = tmp_path / f"profile{len(list(tmp_path.glob('profile*')))}"
        done = subprocess.run(
            [
                binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000",
                f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", *flags, page.as_uri(),
            ],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return done.stdout, done.stderr

    return run


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page with hostile and long names, several agents, tables, curves, arms."""
    long = "a-condition-with-a-name-that-does-not-end-" * 3
    figures = {"success": 1, "outcome": "success", "path_length": 3.0, "time": 2.0}
    runs = [train(synthetic(tmp_path / n, seed=k), {10: [1.0, 2.0], 20: [3.0, 4.0]}) for k, n in enumerate("abc")]
    runs.append(train(synthetic(tmp_path / "d", agent="mlp", body="mlp"), {10: [1.0, 2.0], 20: [2.0, 2.0]}))
    for run in runs[:3]:
        evaluate(run, arms={"dwam": 300.0, "linear": -50.0, "bdett:psi=4": 3.0}, figures=lambda a, c, e: figures)
    evaluate(runs[3], arms={}, rename=lambda n: f"{long}{n}<script>alert(1)</script>", suite=f"<b>{long}</b>")
    return write_page(collect(runs), tmp_path / "page.html").path


def console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def test_the_console_stays_empty(browse: Browse, page: Path, tmp_path: Path) -> None:
    """No error, no refused request; and a page that asks for something, or runs another script, would be noticed."""
    html, log = browse(page, "--dump-dom")
    assert console(log) == []
    assert re.search(r'<button type="button" class="theme">(Dark|Light) theme</button>', html), "the script ran"
    text = page.read_text()
    for intruder, message in (
        ('<img src="https://example.org/x.png">', "Content Security Policy"),
        ("<script>document.title = 'intruder'</script>", "Content Security Policy"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "Content Security Policy"),
    ):
        other = tmp_path / "intruder.html"
        other.write_text(text.replace("<header>", f"<header>{intruder}"))
        html, log = browse(other, "--dump-dom")
        assert [line for line in console(log) if message in line], (intruder, log)
        assert "<title>intruder" not in html


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_nothing_scrolls_sideways(browse: Browse, page: Path, tmp_path: Path, width: int) -> None:
    measured = tmp_path / "measured.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    measured.write_text(text.replace("</body>", f"{MEASURE}</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    html, _ = browse(frame, "--dump-dom", size=(1400, 1000))
    match = re.search(r"<title>measured (\d+) (\d+) ([^<]*)</title>", html)
    assert match is not None
    assert int(match[2]) == width
    assert int(match[1]) <= width
    assert match[3] == ""


HOVER = """<script>addEventListener("load", function () {
  var said = ["#profiles .sheet.wide", "#robustness td", "#differences tbody tr"].map(function (query) {
    var e = document.querySelector(query);
    e.scrollIntoView();
    var box = e.getBoundingClientRect();
    e.dispatchEvent(new PointerEvent("pointermove", {
      bubbles: true, clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }));
    return document.querySelector(".bubble").textContent;
  });
  document.title = "said " + said.join("|");
});</script>"""
"""Moves the pointer over a chart, a cell and an interval, and tells what was shown."""


def test_values_are_shown_below_the_mouse(browse: Browse, page: Path, tmp_path: Path) -> None:
    hovered = tmp_path / "hovered.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    hovered.write_text(text.replace("</body>", f"{HOVER}</body>"))
    html, _ = browse(hovered, "--dump-dom", size=(1280, 900))
    match = re.search(r"<title>said ([^|<]*)\|([^|<]*)\|([^|<]*)</title>", html)
    assert match is not None
    assert re.search(r"^dwam: [\d.]+ %$", match[1], re.MULTILINE), "lines of a chart by name, with their values"
    assert re.match(r"none, clean: 100 %; .*; 1\.00 of clean", match[2])
    assert re.search(r"dwam: [+\u2212][\d.]+ \[", match[3])


@pytest.mark.parametrize(("name", "size"), [("desktop", (1280, 2400)), ("phone", (390, 2400))])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots(browse: Browse, page: Path, tmp_path: Path, name: str, size: tuple[int, int], theme: str) -> None:
    """Both themes have ink on paper: the dark one is dark, the light one light, and much is drawn in between."""
    folder = Path(os.environ.get("HOMEO_RL_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    themed = tmp_path / f"{theme}.html"
    themed.write_text(page.read_text().replace('<html lang="en">', f'<html lang="en" data-theme="{theme}">'))
    target = folder / f"report-{name}-{theme}.png"
    browse(themed, f"--screenshot={target}", size=size)
    picture = np.asarray(Image.open(target).convert("L"), dtype=float)
    assert picture.shape == (size[1], size[0])
    assert (np.median(picture) > 240) if theme == "light" else (np.median(picture) < 40)
    assert len(np.unique(picture)) > 50


def test_a_page_prints_on_white_paper(browse: Browse, page: Path, tmp_path: Path) -> None:
    dark = tmp_path / "dark.html"
    dark.write_text(page.read_text().replace('<html lang="en">', '<html lang="en" data-theme="dark">'))
    target = tmp_path / "page.pdf"
    browse(dark, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    blob = target.read_bytes()
    assert blob.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", blob)) >= 3


def test_ten_runs_fit_in_one_file(tmp_path: Path) -> None:
    runs: list[Run] = [
        evaluate(train(synthetic(tmp_path / str(k), seed=k), {s: [1.0 * s] * 5 for s in range(0, 200, 10)}))
        for k in range(10)
    ]
    assert write_page(collect(runs), tmp_path / "page.html").size < 15_000_000
