"""What the documentation shows is run as it stands there."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(python|yaml|bash)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


SCRIPT = Path(sys.executable).parent / "homeo-rl"


@pytest.mark.parametrize("page", ["docs/extending.md", "docs/any-policy.md"])
def test_page(page: str, tmp_path: Path) -> None:
    """Files with a title are written, commands are run in their order: by the console script, with nothing set."""
    if "any-policy" in page:
        pytest.importorskip("onnxscript", reason="the page exports a graph, which needs the extra onnx")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    (tmp_path / "home").mkdir()
    work = tmp_path / "work"
    work.mkdir()
    commands = 0
    for kind, title, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if title:
            (work / title).write_text(text, encoding="utf-8")
        elif kind == "bash":
            for line in text.splitlines():
                words = shlex.split(line)
                assert words[0] == "homeo-rl"
                command = [sys.executable, "-W", "error", str(SCRIPT), *words[1:]]
                done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
                assert done.returncode == 0, (line, done.stderr[-2000:])
                assert "--against" not in words or "the sign turns" in done.stdout  # as the page explains
                commands += 1
    assert commands >= 3


def test_programs_of_the_faults_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is all that a reader has; one that needs an optional package is left out where there is none."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    programs = re.findall(r"(?:^<!-- needs: (\w+) -->\n)?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    missing = sorted({package for package, _ in programs if package and find_spec(package) is None})
    for package, program in programs:
        if package not in missing:
            exec(compile(program, "docs/faults.md", "exec"), {})
    assert len(programs) == 5
    if missing:
        pytest.skip(f"all programs but those that need {', '.join(missing)} ran")


def test_site(tmp_path: Path) -> None:
    """It is built, every name in the reference is found, no link is broken, and pages fetch nothing from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|iframe)[^>]*src="https?:|<link[^>]*stylesheet[^>]*href="https?:', text)
    reference = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert "homeo_rl.training.train.train" in reference
    assert "Raises" in reference
    for field in ("eval_freq", "save_freq", "calibration_episodes"):  # of TrainingPlan and Plan
        assert f">{field}<" in reference, field
    assert ".word {" in (tmp_path / "site" / "site.css").read_text(encoding="utf-8")
    text = (tmp_path / "site" / "training" / "index.html").read_text(encoding="utf-8")
    assert '<span class="word">--eval-freq</span>' in text, "lines do not break within a flag"


def test_figures(tmp_path: Path) -> None:
    """The pictures of the pages can be drawn again."""
    functions = runpy.run_path(str(ROOT / "docs" / "figures.py"))
    for name in ("headline", "rule", "course"):
        functions[name](tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
