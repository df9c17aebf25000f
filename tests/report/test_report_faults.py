"""Reports over damaged, duplicated and foreign runs: named, counted once or refused, never averaged without a word."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call, last
from test_report_page import Reader
from test_report_runs import evaluate, synthetic

from homeo_rl.report import build
from homeo_rl.report.baselines import baseline_of, doubt
from homeo_rl.report.evaluations import latest_evaluation
from homeo_rl.report.page import collect
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.sections.energy import energy
from homeo_rl.run import Run
from homeo_rl.storage import bundle

EPISODES = 6


def a_run(path: Path, seed: int = 0, *, offset: float = 0.0, env: str = "Point-v0", **document: Any) -> Run:
    return evaluate(synthetic(path, seed=seed, env=env), episodes=EPISODES, offset=offset, **document)


def scores_of(run: Run) -> Path:
    return latest_evaluation(run) / "scores.csv"


def change_field(line: int, column: int, value: str) -> Callable[[str], str]:
    """Return what writes ``value`` into a field of a table."""

    def change(text: str) -> str:
        lines = [entry.split(",") for entry in text.splitlines()]
        lines[line - 1][column] = value
        return "\n".join(",".join(entry) for entry in lines) + "\n"

    return change


DAMAGES: list[tuple[Callable[[str], str], str]] = [
    (change_field(5, 6, "nan"), "line 5: return: expected a finite number, got 'nan'"),
    (change_field(5, 6, "-inf"), "line 5: return: expected a finite number, got '-inf'"),
    (change_field(5, 6, "1e300"), "line 5: return: expected a finite number, got '1e300'"),
    (change_field(5, 6, ""), "line 5: return: expected a finite number, got ''"),
    (change_field(5, 6, "4O0"), "line 5: return: expected a finite number, got '4O0'"),
    (change_field(5, 7, "0"), "line 5: length: expected a whole number from 1 on, got '0'"),
    (change_field(5, 4, "-1"), "line 5: episode: expected a whole number from 0 on, got '-1'"),
    (change_field(5, 3, "nan"), "line 5: severity: expected a finite number, got 'nan'"),
    (change_field(5, 21, "nan"), "line 5: energy: expected a finite number, got 'nan'"),
    (change_field(5, 4, "2"), "line 5: expected each episode once, got that of line 4 again"),
    (lambda text: text + text.splitlines()[-1] + "\n", "line 38: expected each episode once"),
    (lambda text: text[: text.rindex(",100,")], "line 37: expected 30 fields, got 7"),
    (lambda text: text + text, "line 38: length: expected a whole number from 1 on, got 'length'"),
    (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "expected 6 episodes of dwam under dead@0.5, found 5"),
    (lambda text: "".join(text.splitlines(keepends=True)[:19]), "expected episodes of 2 arms, found those of none"),
    (lambda text: text.splitlines()[0] + "\n", "expected episodes, found none"),
    (lambda text: "", "expected the columns"),
    (lambda text: text.replace("return", "reward", 1), "expected the columns"),
    (lambda text: text.replace("none", "no\0ne", 1), "scores.csv: "),
]


@pytest.mark.parametrize("page", ["report", "page.html"])
def test_damaged_scores_are_named_and_never_averaged(
    tmp_path: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names run, file and line; exit code 5; nothing is written."""
    sound, damaged = a_run(tmp_path / "r1"), a_run(tmp_path / "r2", 1)
    whole = scores_of(damaged).read_text()
    for damage, message in DAMAGES:
        scores_of(damaged).write_text(damage(whole))
        _, err = call("report", sound.path, damaged.path, "--out", tmp_path / page, code=5, capsys=capsys)
        assert message in err, err
        assert f"{damaged.path}/evaluations/quick_1/scores.csv" in err
        assert len(err.splitlines()) == 1
        assert not (tmp_path / page).exists()
    scores_of(damaged).write_text(whole)
    for text in ("{", "[]", '{"suite": "quick"}'):
        (latest_evaluation(damaged) / "evaluation.json").write_text(text)
        _, err = call("report", sound.path, damaged.path, "--out", tmp_path / page, code=5, capsys=capsys)
        assert f"{damaged.path}/evaluations/quick_1/evaluation.json" in err
        bundle.write_json(
            latest_evaluation(damaged) / "evaluation.json",
            bundle.read_json(latest_evaluation(sound) / "evaluation.json"),
        )


def copies(run: Run, tmp_path: Path) -> dict[str, Path]:
    """Return other ways to name a run, and what a report says of each."""
    shutil.copytree(run.path, tmp_path / "copied")
    shutil.copytree(run.path, tmp_path / "renamed")
    renamed = scores_of(Run.open(tmp_path / "renamed"))
    renamed.write_text(renamed.read_text().replace(run.name, "other/renamed"))
    (tmp_path / "link").symlink_to(run.path)
    return {
        "is a copy of": tmp_path / "copied",
        "is a copy of ": tmp_path / "renamed",
        "was given twice": tmp_path / "link",
        "was given twice ": run.path / ".." / run.path.name,
    }


@pytest.mark.parametrize("policy", [True, False])
def test_a_copy_counts_once_and_is_named(tmp_path: Path, policy: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "r1")
    if policy:
        (run.path / "policy").mkdir()
        (run.path / "policy" / "manifest.json").write_text("{}")
    alone = last(call("report", run.path, "--out", tmp_path / "alone", "--json", capsys=capsys)[0])
    for message, other in copies(run, tmp_path).items():
        both = last(call("report", run.path, other, "--out", tmp_path / "both", "--json", capsys=capsys)[0])
        assert both["cells"] == alone["cells"]
        assert both["differences"] == alone["differences"]
        assert f"{other} {message.strip()}" in both["notes"][0]
        assert message.strip() in (tmp_path / "both" / "report.md").read_text()
        data = collect([run, Run.open(other)])
        assert len(data.members) == 1
        assert [message.strip() in note for note in data.notes] == [True] * (message.strip() == "is a copy of")


def test_a_copy_is_known_before_and_after_it_was_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = synthetic(tmp_path / "bare")
    shutil.copytree(bare.path, tmp_path / "later")
    later = a_run(tmp_path / "other")  # with the same run.json
    data = collect([bare, later])
    assert [member.run.path.name for member in data.members] == ["other"]
    assert "bare is a copy of" in data.notes[0]
    shutil.copytree(later.path, tmp_path / "twice")
    path = scores_of(Run.open(tmp_path / "twice"))
    path.write_text(change_field(5, 6, "401.5")(path.read_text()))
    for page in ("report", "page.html"):
        words = ["report", later.path, tmp_path / "twice", "--out", tmp_path / page]
        _, err = call(*words, code=2, capsys=capsys)
        assert "report one of the two" in err
        assert not (tmp_path / page).exists()


def test_runs_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    """Folders of the same name in two places: each is a stratum, and their episodes are not paired with each other."""
    runs = [a_run(tmp_path / place / "x" / "run", seed, offset=500.0 * seed) for seed, place in enumerate("ab")]
    report = build([latest_evaluation(run) for run in runs], tmp_path / "out")
    assert {cell.episodes for cell in report.cells} == {2 * EPISODES}
    assert report.page.read_text().startswith("# x/run, x/run (2): suite quick")
    (difference,) = report.differences
    clean = next(cell.mean for cell in report.cells if (cell.arm, cell.condition) == ("none", "clean"))
    assert difference.mean * clean == pytest.approx(300.0, abs=10), "the gain in each run, not between them"


def test_foreign_runs_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "r1")
    others = {
        "expected evaluations of one environment, got Point-v0 of {0}; Line-v0 of {1}": a_run(
            tmp_path / "r2", 1, env="Line-v0"
        ),
        "expected evaluations of one suite, got quick (abc) of {0}; quick (def) of {1}": a_run(
            tmp_path / "r3", 2, suite_hash="def"
        ),
        "got quick (abc) of {0}; quick (abc), time_steps 3 of {1}": a_run(tmp_path / "r4", 3, time_steps=3),
    }
    for message, other in others.items():
        _, err = call("report", run.path, other.path, "--out", tmp_path / "out", code=2, capsys=capsys)
        assert message.format(run.path, other.path) in err
        assert not (tmp_path / "out").exists()


def test_what_joined_runs_do_not_share_is_said(tmp_path: Path) -> None:
    run = a_run(tmp_path / "r1", versions={"numpy": "1.0"})
    other = evaluate(synthetic(tmp_path / "r2", seed=1), arms={"sleep": 1.0}, episodes=4, versions={"numpy": "2.0"})
    report = build([latest_evaluation(run), latest_evaluation(other)], tmp_path / "out")
    assert report.notes == (
        "dwam was evaluated on 1 of 2 runs only.",
        "sleep was evaluated on 1 of 2 runs only.",
        "The runs differ in their episodes a cell: 6, 4.",
    )
    page = report.page.read_text()
    assert "6, 4 episodes a cell" in page
    assert "numpy 1.0 and 2.0" in page


# Returns that cannot be divided by.


def test_negative_returns_are_compared_raw_and_normalised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trained pendulum: its clean return is negative, and differences are there all the same."""
    known = a_run(tmp_path / "known", env="Pendulum-v1", offset=-1200.0)
    out, _ = call("report", known.path, "--json", capsys=capsys)
    result = last(out)
    raw, normalised = result["differences"]
    assert (raw["what"], normalised["what"]) == ("return", "normalised")
    assert raw["mean"] == pytest.approx(300.0, abs=10)
    assert normalised["mean"] == pytest.approx(raw["mean"] / (-151.9 + 1197.2))
    cells = {(cell["arm"], cell["condition"]): cell for cell in result["cells"]}
    assert all(cell["retention"] is None and not cell["untrained"] for cell in cells.values())
    clean = cells["none", "clean"]
    assert clean["normalised"] == pytest.approx((clean["mean"] + 1197.2) / (-151.9 + 1197.2))
    assert "is not positive, so there is no retention" in result["notes"][0]
    assert "random -1,197.2, best -151.9 (RL Zoo TD3)" in out
    page = (known.path / "report" / "report.md").read_text()
    assert "| dwam | normalised | +0." in page
    assert "n is the normalised mean return" in page

    unknown = a_run(tmp_path / "unknown", offset=-1200.0)
    result = last(call("report", unknown.path, "--json", capsys=capsys)[0])
    assert [difference["what"] for difference in result["differences"]] == ["return"]
    assert "no random and best return of this environment are known" in result["notes"][0]


def test_an_untrained_policy_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clean it returns 50 of 1000, damaged 3.5 times as much: a share of that is refused, and the reason is stated."""
    run = evaluate(
        synthetic(tmp_path / "pole", env="InvertedPendulum-v5"),
        episodes=EPISODES,
        figures=lambda arm, condition, episode: {"return": 50.0 + episode if condition == "clean" else 175.0 + episode},
    )
    out, _ = call("report", run.path, "--json", capsys=capsys)
    result = last(out)
    assert all(cell["untrained"] for cell in result["cells"])
    assert "0.05 of the way from random to the best known return" in result["cells"][0]["reason"]
    assert [difference["what"] for difference in result["differences"]] == ["return", "normalised"]
    assert "Not trained: the clean return 52.5" in out
    assert " r 3." not in out
    (comparison,) = collect([run]).comparisons
    assert comparison.clean is None
    call("report", run.path, "--no-play", "--no-progress", "--out", tmp_path / "page.html", capsys=capsys)
    page = Reader((tmp_path / "page.html").read_text()).text
    assert "not trained: the clean return 52.5" in page
    assert "Normalised return" in page
    assert "Share of none" not in page


def test_who_counts_as_trained() -> None:
    pole = baseline_of("InvertedPendulum-v5")
    assert pole is not None
    assert baseline_of("Point-v0") is None
    assert doubt(990.0, 980.0, 1000.0, pole) == ""
    assert "best 1,000 (the most an episode can return)" in doubt(84.0, 80.0, 90.0, pole)
    assert doubt(84.0, 80.0, 90.0, None) == "", "nothing is known against it"
    assert "wider than the return itself" in doubt(84.0, 40.0, 130.0, None)
    assert doubt(-5.0, -9.0, -1.0, None) == ""


def test_random_returns_can_be_measured_again() -> None:
    from benchmarks.random_returns import random_return

    pole, cart = baseline_of("InvertedPendulum-v5"), baseline_of("CartPole-v1")
    assert pole is not None
    assert cart is not None
    assert random_return("InvertedPendulum-v5") == pytest.approx(pole.random, abs=0.05)
    assert random_return("CartPole-v1") == pytest.approx(cart.random, abs=0.05)


# Units.


def test_energy_says_what_it_is_of(tmp_path: Path) -> None:
    """5 nJ an action, episodes of 10 and 30 actions: 100 nJ an episode, by which its return is divided."""
    run = evaluate(
        synthetic(tmp_path / "a"),
        episodes=2,
        figures=lambda arm, condition, episode: {
            "energy": 5e-9, "spikes": 7.0, "length": 10 + 20 * episode, "return": 40.0 + 20 * episode,
        },
    )  # fmt: skip
    section = energy(PageContext(collect([run])))
    assert section is not None
    table = section.data["table"]
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["energy per action"] == "5 nJ"
    assert row["energy per episode"] == "100 nJ"
    assert row["mean return per episode"] == "50.0"
    assert row["return per \u00b5J"] == "500"


# Packages of an evaluation.

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

import torch

from homeo_rl.homeostasis import MECHANISMS, Homeostasis, Modulation


@dataclass(frozen=True, kw_only=True)
class Thermostat(Homeostasis):
    name: ClassVar[str] = "thermostat"

    def init(self, layer, batch):
        return {"bias": torch.zeros(batch, layer.rate.shape[0])}

    def modulation(self, state):
        return Modulation(bias=state["bias"])

    def step(self, state, layer, tick):
        return {"bias": state["bias"] + 1e-3 * (layer.rate - tick.post)}


MECHANISMS["thermostat"] = Thermostat
"""


def test_an_evaluation_remembers_its_packages(
    make_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A report in another process plays the plug-in's episodes; where the package is missing it says so and exits 1."""
    run = make_run()
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "thermostats.py").write_text(PLUGIN)
    suite = tmp_path / "small.yaml"
    suite.write_text("name: small\nversion: 1\nconditions:\n  - name: clean\n  - name: dead\n"
                     "    degradations: [{kind: dead-neurons, fraction: 0.5}]\n")  # fmt: skip
    monkeypatch.syspath_prepend(packages)
    words = ["--suite", suite, "--episodes", 2, "--workers", 1, "--calibration-episodes", 1, "--no-progress"]
    call("evaluate", run.path, "--homeostasis", "none,thermostat", "--gym-packages", "thermostats", *words,
         capsys=capsys)  # fmt: skip
    document = bundle.read_json(latest_evaluation(run) / "evaluation.json")
    assert document["modules"] == ["toy_envs", "thermostats"]

    def report(*more: object, path: Path) -> subprocess.CompletedProcess[str]:
        places = [str(Path(__file__).parents[1] / "support"), str(path)]  # as if they were installed
        program = f"import sys; sys.path[:0] = {places!r}; from homeo_rl.cli import main; main()"
        arguments = ["report", run.path, "--out", tmp_path / "page.html", "--no-progress", *more]
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True
        )

    done = report("--json", path=packages)
    assert done.returncode == 0, done.stderr
    assert "not played" not in done.stdout
    assert {"Spikes of one episode", "Videos of episodes"} & set(json.loads(done.stdout.splitlines()[-1])["sections"])
    lacking = report(path=tmp_path)
    assert lacking.returncode == 1
    assert "package 'thermostats' is missing" in lacking.stderr
    assert "--no-play" in lacking.stderr
    assert len(lacking.stderr.splitlines()) == 1
    assert "thermostats" in (tmp_path / "page.html").read_text()
    call("report", run.path, "--out", tmp_path / "page.html", "--no-play", capsys=capsys)
