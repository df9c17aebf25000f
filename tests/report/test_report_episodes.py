"""Episodes played for a page are those of the evaluation; traces are those of TensorBoard; the command joins them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toy_envs
from PIL import Image
from test_report_page import Reader
from test_report_runs import evaluate as write_evaluation
from test_report_runs import synthetic, train

from homeo_rl.cli import main
from homeo_rl.degradations import Condition, Suite, build
from homeo_rl.errors import UsageError
from homeo_rl.evaluation import recorded_episode
from homeo_rl.evaluation.evaluate import Result, evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.recorded_episode import plan_of, play
from homeo_rl.evaluation.recorders import TRACE_EVERY
from homeo_rl.evaluation.tensorboard import log_evaluation
from homeo_rl.report.page import Damage, collect, request_episodes
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.sections.homeostasis import homeostasis
from homeo_rl.report.page.sections.recovery import recovery
from homeo_rl.report.page.sections.spikes import INK, raster
from homeo_rl.report.page.sections.videos import webp
from homeo_rl.report.page.traces import read_events, read_trace
from homeo_rl.run import Run
from homeo_rl.storage import bundle

ARMS = ("none", "dwam-paper:eta=1e-3", "bdett")


class Blind(toy_envs.Point):
    """A point that cannot be drawn."""

    def render(self) -> Any:
        raise gym.error.DependencyNotInstalled("pygame is not installed")


gym.register("Blind-v0", entry_point=Blind)

LATE = Condition(
    name="late", severity=1.0, degradations=(build({"kind": "weights-gaussian", "std": 0.5}, where="test"),), onset=12
)
SUITE = Suite(name="test", version=1, description="", conditions=(Condition(name="clean"), LATE))


def an_evaluation(run: Run, arms: tuple[str, ...] = ARMS) -> tuple[Plan, Result]:
    plan = Plan(suite=SUITE, arms=arms, episodes=3, seed=4, calibration_episodes=2)
    return plan, evaluate(run, plan, workers=1, num_envs=3)


@pytest.mark.parametrize("agent", ["popsan", "san", "mlp"])
def test_a_recorded_episode_is_the_first_episode_of_the_evaluation(make_run: Callable[..., Run], agent: str) -> None:
    """Its return is that of scores.csv to the bit, its firing rate to rounding, for every arm and condition."""
    run = make_run(agent=agent)
    _, result = an_evaluation(run, ("none",) if agent == "mlp" else ARMS)
    plan = plan_of(bundle.read_json(result.folder / "evaluation.json"), SUITE)
    for score in [score for score in result.scores if score.episode == 0]:
        condition = next(c for c in SUITE.conditions if c.name == score.condition)
        episode = play(run, plan, score.arm, condition, name="x")
        assert episode.total == score.total
        assert len(episode.rewards) == len(episode.observations) == score.length
        assert episode.rewards.sum() == pytest.approx(score.total)
        if agent == "mlp":
            assert episode.rates == ()
        else:
            assert {len(rates) for rates in episode.rates} == {score.length}
            mean = np.concatenate([rates.mean(axis=0) for rates in episode.rates]).mean()
            assert mean == pytest.approx(score.firing_rate, rel=1e-5)


def test_pictures_are_taken_and_their_lack_is_told(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_episode, "FRAMES", 10)
    plan = plan_of({}, None)
    seen = play(make_run(), plan, "none", recorded_episode.CLEAN, name="x", film=True)
    assert 5 < len(seen.frames) <= 10
    assert {frame.shape for frame in seen.frames} == {(24, 32, 3)}
    every = -(-(len(seen.rewards) + 1) // 10)
    assert seen.pause == 50 * every, "the environment's 20 frames a second"
    assert seen.missing == ""
    blind = make_run(name="blind")
    blind = Run(blind.path, replace(blind.spec, env="test_report_episodes:Blind-v0"))
    unseen = play(blind, plan, "none", recorded_episode.CLEAN, name="x", film=True)
    assert unseen.frames == ()
    assert unseen.missing == "rendering: pygame is not installed"
    assert unseen.total == seen.total


def test_an_untrusted_document_is_checked() -> None:
    with pytest.raises(UsageError, match=r"evaluation\.json: time_steps"):
        plan_of({"time_steps": "many"}, None)
    with pytest.raises(UsageError, match="flarn"):
        plan_of({"arms": ["flarn"]}, None)


def test_rasters_are_as_opaque_as_neurons_are_active() -> None:
    rates = np.array([[0.0, 1.0], [0.25, 0.0], [0.0, 0.0]])
    picture = Image.open(io.BytesIO(raster(rates)))
    pixels = np.asarray(picture.convert("RGBA"))
    assert pixels.shape == (2, 3, 4), "a row a neuron, a column a decision"
    assert pixels[..., 3].tolist() == [[0, 128, 0], [255, 0, 0]]
    assert tuple(pixels[0, 1, :3]) == INK


def test_films_fit(make_run: Callable[..., Run]) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(12)]
    whole = Image.open(io.BytesIO(webp(frames, 100)))
    assert whole.n_frames == 12  # type: ignore[attr-defined]
    small = webp(frames, 100, max_bytes=20_000)
    assert len(small) <= 20_000
    assert 1 <= Image.open(io.BytesIO(small)).n_frames < 12  # type: ignore[attr-defined]


def test_traces_are_those_that_were_logged(make_run: Callable[..., Run]) -> None:
    run = make_run()
    _, result = an_evaluation(run)
    log_evaluation(run.path / "tb", "test", 0, result.scores, result.traces)
    trace = read_trace(run.path / "tb", "test", "late", "dwam-paper:eta=1e-3")
    assert trace is not None
    entries = result.traces["dwam-paper:eta=1e-3", "late"]
    expected = {place * TRACE_EVERY: np.mean(entry["drift"]) for place, entry in enumerate(entries)}
    assert trace.series["homeo/drift"] == pytest.approx(expected, rel=1e-5)
    assert set(trace.series) == {"homeo/drift", "homeo/rate_error", "snn/rate", "episode/reward"}
    assert read_trace(run.path / "tb", "test", "late", "linear") is None


def test_traces_are_looked_for_inside_the_run_only(make_run: Callable[..., Run]) -> None:
    run = make_run()
    _, result = an_evaluation(run)
    log_evaluation(run.path / "tb", "test", 0, result.scores, result.traces)
    outside = run.path / "tb" / "test" / "late"
    inner = run.path / "inner"
    inner.mkdir()
    assert read_trace(inner, "../tb/test", "../../tb/test/late", "none") is None
    (events,) = (outside / "none").glob("events*")
    (inner / events.name).symlink_to(events)
    assert read_events(inner / events.name) == ({}, 0.0)


def test_event_files_that_end_early_hold_what_was_written(make_run: Callable[..., Run]) -> None:
    run = make_run()
    _, result = an_evaluation(run)
    log_evaluation(run.path / "tb", "test", 0, result.scores, result.traces)
    (path,) = (run.path / "tb" / "test" / "clean" / "bdett").glob("events*")
    whole, _ = read_events(path)
    blob = path.read_bytes()
    for cut in (len(blob) // 2, len(blob) - 3, 5):
        path.write_bytes(blob[:cut])
        part, _ = read_events(path)
        assert all(set(part[tag].items()) <= set(whole[tag].items()) for tag in part)
    path.write_bytes(blob[:200] + b"\xff" * 40 + blob[240:])
    assert len(read_events(path)[0]) <= len(whole)


def test_recovery_is_drawn_from_the_onset_on(make_run: Callable[..., Run]) -> None:
    run = make_run()
    _, result = an_evaluation(run)
    log_evaluation(run.path / "tb", "test", 0, result.scores, result.traces)
    data = collect([run])
    suites = {SUITE.hash: {"late": Damage(12, "")}}
    section = recovery(PageContext(data, suites))
    assert section is not None
    parts = {part["title"]: part["charts"] for part in section.data["blocks"][0]["parts"]}
    assert set(parts) == {"Reward", "Firing rate", "Distance from calibrated rates", "Weight drift"}
    assert all(chart.rules[0].x == 12.0 for charts in parts.values() for chart in charts)
    assert recovery(PageContext(data)) is None
    rest = homeostasis(PageContext(data, suites))
    assert rest is not None
    assert [chart.title for part in rest.data["blocks"][0]["parts"] for chart in part["charts"]] == ["clean"] * 2


def test_an_evaluation_without_rewards_shows_those_of_one_episode(make_run: Callable[..., Run]) -> None:
    """Versions before this one stored none."""
    run = make_run()
    plan, result = an_evaluation(run)
    stripped = {
        cell: [{name: value for name, value in entry.items() if name != "reward"} for entry in trace]
        for cell, trace in result.traces.items()
    }
    log_evaluation(run.path / "tb", "test", 0, result.scores, stripped)
    long = replace(play(run, plan, ARMS[1], LATE, name=run.name), rewards=np.arange(60.0))
    section = recovery(PageContext(collect([run]), {SUITE.hash: {"late": Damage(12, "")}}, [long]))
    assert section is not None
    parts = {part["title"]: part["charts"] for part in section.data["blocks"][0]["parts"]}
    assert set(parts) == {"Reward in one episode", "Firing rate", "Distance from calibrated rates", "Weight drift"}
    assert parts["Reward in one episode"][0].lines[0].points[0] == (25.0, 12.0), "mean of 25 rewards 0, 1, 2, ..."


def test_the_most_telling_damage_is_wished_for(tmp_path: Path) -> None:
    runs = [
        write_evaluation(synthetic(tmp_path / "a"), arms={"dwam": 300.0, "linear": 10.0}),
        synthetic(tmp_path / "b", agent="san"),
    ]
    requests, left = request_episodes(collect(runs), {})
    assert [(w.arm, w.video) for w in requests if w.condition == "clean"] == [
        ("none", True), ("dwam", False), ("linear", False), ("none", True),
    ]  # fmt: skip
    assert {w.arm for w in requests if w.condition != "clean"} == {"none", "dwam"}
    assert left == []


def test_the_command_writes_one_file(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spiking run with an evaluation, an MLP without, and one that only trained: spikes, videos, what is left out."""
    run, mlp = make_run(), make_run(agent="mlp", name="mlp")
    only = train(synthetic(tmp_path / "only"), {10: [1.0, 2.0]})
    main(["evaluate", str(run.path), "--episodes", "3", "--workers", "1", "--no-progress"])
    words = ["report", str(run.path), str(mlp.path), str(only.path), "--no-progress", "--json"]
    capsys.readouterr()
    main([*words, "--out", str(tmp_path / "deep" / "page.html")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    page = Reader(Path(result["page"]).read_text())
    assert result["bytes"] < 1_000_000
    assert {"headline", "learning", "robustness", "differences", "profiles", "homeostasis", "spikes", "videos"} <= set(
        page.ids()
    )
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert {source.split(",")[0] for source in images} == {"data:image/png;base64", "data:image/webp;base64"}
    videos = [source for source in images if "webp" in source]
    assert len(videos) == 4, "clean and the most telling damage twice, and the MLP"
    assert Image.open(io.BytesIO(base64.b64decode(videos[0].split(",")[1]))).n_frames > 1  # type: ignore[attr-defined]
    assert "episodes were not played" in page.text, "the run that only trained has no policy"
    assert "run/mlp" in page.text or "mlp" in page.text
    main([*words, "--no-play", "--out", str(tmp_path / "quick.html")])
    assert not {"spikes", "videos"} & set(Reader((tmp_path / "quick.html").read_text()).ids())


def test_a_folder_is_no_page(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    (tmp_path / "a.html").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["report", str(run.path), "--out", str(tmp_path / "a.html")])
    assert left.value.code == 2
    assert "expected a file's name, found a folder" in capsys.readouterr().err
