"""Navigation through the whole house: training in compiled loops, importing, evaluating on routes, pictures."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.vec_env import DummyVecEnv

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.importers import import_san
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.sb3.vec_env import GymVecEnv
from homeo_rl.agents.session import Session
from homeo_rl.cli import main
from homeo_rl.degradations import load_suite
from homeo_rl.envs.make import arguments_for, make_env, make_vector
from homeo_rl.errors import NumericalFault, UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.routes import Route, read_routes
from homeo_rl.report import build
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.snn import neurons
from homeo_rl.snn.network import half_rate_current
from homeo_rl.spec import NeuronSpec
from homeo_rl.storage import bundle
from homeo_rl.storage.pretrained import FOLDER, list_pretrained
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.hyperparams import load_tuned, resolve
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

TRAIN, STATIC, MOVING = "homeo_rl/NavigationTrain-v0", "homeo_rl/Navigation-v0", "homeo_rl/NavigationDynamic-v0"
ROUTES = [{"start": [-8.0, -9.0, 0.5], "goal": [-7.0, -9.0]}, {"start": [8.5, 9.0, 3.1], "goal": [8.0, 2.0]}]


@pytest.fixture
def routes_file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.json"
    path.write_text(json.dumps({"note": "two short ones", "routes": ROUTES}))
    return path


@pytest.fixture
def san_file(tmp_path: Path) -> Path:
    """A random actor in the published layout, lively enough to drive in curves."""
    rng, widths = np.random.default_rng(0), (24, 32, 32, 32, 2)
    arrays = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        arrays[f"w{i}"] = rng.normal(0, 1.6 / math.sqrt(inputs), (outputs, inputs))
        arrays[f"b{i}"] = rng.normal(0.1, 0.05, outputs)
    np.savez(tmp_path / "san.npz", **arrays)
    return tmp_path / "san.npz"


# --- Stable-Baselines3


@pytest.mark.parametrize("env_id", [TRAIN, MOVING])
def test_compiled_environments_are_what_sb3_would_make_of_scalar_ones(env_id: str) -> None:
    """Observations, rewards, ends and terminal infos of a DummyVecEnv of scalar environments, bit for bit."""
    count = 3
    vector = make_vector(env_id, count, {"spike_coded": True})
    assert vector is not None
    ours, plain = GymVecEnv(vector), DummyVecEnv([lambda: gym.make(env_id, spike_coded=True)] * count)
    for envs in (ours, plain):
        envs.seed(3)
    assert np.array_equal(ours.reset(), plain.reset())
    rng, ends = np.random.default_rng(0), 0
    for _ in range(700):
        actions = rng.random((count, 2)).astype(np.float32)
        ours_step, plain_step = ours.step(actions), plain.step(actions)
        for a, b in zip(ours_step[:3], plain_step[:3], strict=True):
            assert np.array_equal(a, b)
        for mine, theirs, done in zip(ours_step[3], plain_step[3], ours_step[2], strict=True):
            if done:
                ends += 1
                assert mine["TimeLimit.truncated"] == theirs["TimeLimit.truncated"]
                for key in ("terminal_observation", "is_success", "collision", "path_length", "pose", "ranges"):
                    assert np.array_equal(mine[key], theirs[key]), key
            else:
                assert mine == {}
    assert ends > 5
    assert ours.get_attr("num_envs") == [count] * count
    assert ours.env_is_wrapped(gym.Wrapper) == [False] * count
    ours.close()


def test_vectors_without_same_step_autoreset_are_refused() -> None:
    with pytest.raises(UsageError, match="autoreset_mode SameStep"):
        GymVecEnv(gym.make_vec(STATIC, 2))
    assert make_vector("CartPole-v1", 2) is None, "gymnasium's own cannot reset at the same step"
    assert make_vector("HalfCheetah-v5", 2) is None
    with pytest.raises(UsageError, match="check --env-kwargs"):
        make_vector(TRAIN, 2, {"wrlds": 3})


def test_numbers_that_are_not_finite_stop_the_training() -> None:
    vector = make_vector(STATIC, 2)
    assert vector is not None
    envs = GymVecEnv(vector)
    envs.reset()
    with pytest.raises(NumericalFault, match="action of robot 1"):
        envs.step(np.array([[0.5, 0.5], [0.5, np.nan]]))


@pytest.mark.parametrize(("algo", "agent"), [("ppo", "popsan"), ("td3", "san"), ("sac", "mlp"), ("ddpg", "san")])
def test_training_in_compiled_loops(tmp_path: Path, algo: str, agent: str) -> None:
    small = {"hidden": [16, 16]}
    hyperparams = {"n_envs": 4, "agent_kwargs": small, "train_env_kwargs": {"curriculum": [1, 1]}}
    hyperparams |= {"n_steps": 32, "batch_size": 64} if algo == "ppo" else {"learning_starts": 50, "batch_size": 32}
    plan = TrainingPlan(
        algo=algo, env=TRAIN, agent=agent, steps=300, hyperparams={**hyperparams, "normalize_reward": True},
        eval_freq=200, eval_episodes=2, out=tmp_path / "run",
    )  # fmt: skip
    run = train(plan)
    assert run.spec.hyperparams["train_env_kwargs"] == {"curriculum": [1, 1]}
    assert "curriculum" not in run.spec.env_kwargs
    header, columns, *_ = (run.path / "0.monitor.csv").read_text().splitlines()
    assert '"env_id": "homeo_rl/NavigationTrain-v0"' in header
    assert columns == "r,l,t,is_success"
    controller = load_controller(run)
    spiking_inputs = run.spec.env_kwargs.get("spike_coded", False)
    assert controller.spec.network.inputs == (24 if spiking_inputs else 22)
    assert controller.spec.normalise is not spiking_inputs


def test_training_repeats_itself(tmp_path: Path) -> None:
    digests = []
    for name in "ab":
        plan = TrainingPlan(
            algo="td3", env=TRAIN, agent="san", steps=200, out=tmp_path / name, eval_freq=-1,
            hyperparams={"n_envs": 2, "learning_starts": 40, "agent_kwargs": {"hidden": [8]}},
        )  # fmt: skip
        digests.append(train(plan).policy_digest())
    assert digests[0] == digests[1]


def test_tuned_hyperparameters_are_accepted() -> None:
    seen = 0
    for algo in ALGORITHMS:
        for agent in ("san", "popsan", "mlp"):
            found = load_tuned(algo, TRAIN, agent)
            resolve(algo, found.hyperparams)
            if found.hyperparams:
                seen += 1
                assert found.steps
                gym.make(TRAIN, **found.env_kwargs).close()
    assert seen >= 6
    assert load_tuned("ppo", "HalfCheetah-v5", "popsan").hyperparams == {}


@pytest.mark.parametrize("kind", ["current-lif", "lif", "if"])
@pytest.mark.parametrize("steps", [4, 5, 8, 16])
def test_output_neurons_of_rate_readouts_start_alive(kind: str, steps: int) -> None:
    """A silent output neuron has no surrogate gradient: navigation actors never left a rate of 0."""
    neuron = NeuronSpec(kind=kind)  # type: ignore[arg-type]
    train_, _ = neurons.scan(neuron, torch.full((1, steps, 1), half_rate_current(neuron, steps)))
    assert abs(float(train_.mean()) - 0.5) <= 0.5 / steps + 1e-6
    env = gym.make(TRAIN, spike_coded=True)
    torch.manual_seed(0)
    spec = controller_spec(
        "san", env.observation_space, env.action_space, overrides={"neuron": {"kind": kind}, "steps": steps}
    )
    observations = torch.as_tensor(np.stack([env.observation_space.sample() for _ in range(64)]))
    actions, _ = Controller(spec)(observations, generator=torch.Generator().manual_seed(0))
    assert bool(((actions.mean(0) > 0.1) & (actions.mean(0) < 0.9)).all())


# --- the published actor's layout


def test_imported_san_acts_as_published(san_file: Path) -> None:
    """The formulas of the paper written out, on observations of its own drive, given the same random numbers."""
    env = make_env(STATIC, {"spike_coded": True})
    controller = import_san(san_file, env)
    assert controller.spec.network.widths == (24, 32, 32, 32, 2)
    arrays = np.load(san_file)
    observation, _ = env.reset(seed=0, options=ROUTES[1])
    rng, actions = np.random.default_rng(1), []
    for step in range(200):
        noise = rng.random((5, 24), dtype=np.float32)
        trains = (noise < observation).astype(float)
        count = np.zeros(2)
        current, voltage, spikes = ([np.zeros(n) for n in (32, 32, 32, 2)] for _ in range(3))
        for t in range(5):
            before = trains[t]
            for i in range(4):
                current[i] = current[i] / 2 + arrays[f"w{i}"] @ before + arrays[f"b{i}"]
                voltage[i] = 0.75 * voltage[i] * (1 - spikes[i]) + current[i]
                spikes[i] = (voltage[i] > 0.5).astype(float)
                before = spikes[i]
            count += before
        session = Session(controller, 1)
        session.begin(0, rng)
        session._draw = lambda noise=noise: torch.as_tensor(noise[None])  # type: ignore[method-assign,misc]
        action = session.act(observation[None])[0]
        assert np.abs(action - count / 5).max() < 1e-6, step
        actions.append(action)
        observation, _, terminated, _, _ = env.step(action)
        if terminated:
            observation, _ = env.reset()
    assert len(np.unique(np.array(actions), axis=0)) > 5, "it acts differently in different places"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("b3"), "expected the arrays w0, b0"),
        (lambda a: a.update(w1=a["w1"][:, :5]), "w1: expected"),
        (lambda a: a.update(b0=a["b0"][None]), "expected"),
        (lambda a: a.update(w0=a["w0"].astype(int)), "w0: expected"),
        (lambda a: a["w2"].__setitem__((0, 0), np.nan), "NaN"),
    ],
)
def test_malformed_actors_are_refused(tmp_path: Path, san_file: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    arrays = dict(np.load(san_file))
    change(arrays)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UsageError, match=said):
        import_san(tmp_path / "bad.npz", make_env(STATIC, {"spike_coded": True}))


def test_signed_observations_do_not_fit_a_san(san_file: Path) -> None:
    with pytest.raises(UsageError, match="check --env"):
        import_san(san_file, make_env(STATIC))


# --- evaluation


def test_import_evaluate_on_routes_enjoy(
    tmp_path: Path, san_file: Path, routes_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the README, end to end: scores with outcomes, both pictures, a video."""
    run = tmp_path / "run"
    main(["import", "san", str(san_file), "--env", STATIC, "--out", str(run)])
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: short\nversion: 1\nenv: homeo_rl/Navigation-v0\nconditions:\n  - name: clean\n"
        "  - name: lidar-0.2\n    degradations: [{kind: lidar-stuck, range: 0.2}]\n"
        "  - name: moving\n    env: homeo_rl/NavigationDynamic-v0\n"
    )
    words = ["evaluate", str(run), "--suite", str(suite), "--routes", str(routes_file), "--homeostasis", "none,dwam"]
    main([*words, "--workers", "1", "--calibration-episodes", "1", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    cells = {(cell["arm"], cell["label"]): cell for cell in result["cells"]}
    assert set(cells) == {(arm, label) for arm in ("none", "dwam") for label in ("clean", "lidar-0.2", "moving")}
    for cell in cells.values():
        assert cell["episodes"] == 2
        assert cell["success"] + cell["collision"] + cell["overtime"] == pytest.approx(1)
    assert {d["what"] for d in result["differences"]} >= {"success"}
    with Path(result["scores"]).open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["outcome"] in ("success", "collision", "overtime")
        assert (row["outcome"] == "success") == (row["success"] == "1")
        seconds = float(row["time"])
        assert seconds == pytest.approx(0.1 * int(row["length"]))
        assert 0.0 < float(row["path_length"]) <= 0.5 * seconds
    paths = bundle.read_json(Path(result["scores"]).parent / "paths.json")
    first = paths["cells"][0]["episodes"]
    assert [episode["path"][0] for episode in first] == [route["start"][:2] for route in ROUTES]
    assert [episode["goal"] for episode in first] == [route["goal"] for route in ROUTES]
    assert paths["cells"][0]["world"]["name"] == "evaluation"
    assert paths["cells"][2]["world"]["name"] == "evaluation-dynamic"
    with Image.open(result["paths"]) as picture:
        assert picture.width > 1000, "none and dwam side by side"
    page = (Path(result["scores"]).parent / "report.md").read_text()
    assert "## Navigation episodes" in page
    assert "![paths](paths.png)" in page
    video = tmp_path / "drive.gif"
    main(["enjoy", str(run), "--suite", str(suite), "--condition", "moving", "--routes", str(routes_file),
          "--video", str(video), "--steps", "12"])  # fmt: skip
    assert "collision" in capsys.readouterr().out or video.exists()
    with Image.open(video) as film:
        assert film.size == (400, 400)
        assert film.n_frames == 13


def test_scores_do_not_depend_on_how_many_drive_side_by_side(make_run: Callable[..., Run]) -> None:
    run = make_run(STATIC)
    routes = tuple(Route(**route) for route in ROUTES)
    plan = Plan(suite=load_suite("clean"), arms=("none", "dwam"), episodes=5, seed=0, env=MOVING, routes=routes)
    contents = [evaluate(run, plan, num_envs=n, workers=1).folder for n in (1, 5)]
    assert (contents[0] / "scores.csv").read_bytes() == (contents[1] / "scores.csv").read_bytes()
    assert (contents[0] / "paths.json").read_bytes() == (contents[1] / "paths.json").read_bytes()
    assert build([contents[0]], contents[0]).paths is not None


def test_the_world_is_the_suites_and_the_eyes_are_the_policys() -> None:
    kwargs = {"worlds": ["train-1"], "rules": "training", "random_movers": 3, "spike_coded": True, "median": True}
    assert arguments_for(STATIC, TRAIN, kwargs) == {"spike_coded": True, "median": True}
    assert arguments_for(TRAIN, TRAIN, kwargs) == kwargs
    assert arguments_for("HalfCheetah-v5", "HalfCheetah-v4", {"frame_skip": 2}) == {"frame_skip": 2}


def test_policies_that_do_not_fit_are_refused(make_run: Callable[..., Run]) -> None:
    run = make_run("HalfCheetah-v5")
    plan = Plan(suite=load_suite("navigation-paper"), arms=("none",), episodes=1, seed=0)
    with pytest.raises(UsageError, match="expected observations of 17 entries"):
        evaluate(run, plan, workers=1)
    assert not (run.path / "evaluations").exists()
    inside = (Route(start=(0.0, 0.0, 0.0), goal=(0.0, -5.5)),)
    impossible = Plan(suite=load_suite("clean"), arms=("none",), episodes=1, seed=0, routes=inside)
    with pytest.raises(UsageError, match="route 0"):
        evaluate(make_run(STATIC, name="other"), impossible, workers=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ('{"routes": []}', "at least one route"),
        ('{"routes": [{"start": [0, 0], "goal": [1, 1]}]}', "start"),
        ('{"routes": [{"start": [0, 0, 0], "gaol": [1, 1]}]}', "gaol"),
        ('{"routes": [{"start": [0, 0, NaN], "goal": [1, 1]}]}', "NaN is not a number"),
    ],
)
def test_malformed_routes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "routes.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_routes(tmp_path / "routes.json")
    with pytest.raises(UsageError, match="found none"):
        read_routes(tmp_path / "absent.json")


# --- the agents that come with the package


@pytest.mark.parametrize("name", ["navigation-san"])
def test_pretrained_agents_are_small_and_say_where_they_come_from(name: str) -> None:
    assert name in list_pretrained()
    run = Run.open(FOLDER / name)
    assert sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()) <= 1_000_000
    assert run.spec.env == TRAIN, "never trained in the evaluation world"
    assert run.spec.command.startswith("homeo-rl train")
    assert f"--seed {run.spec.seed}" in run.spec.command
    load_controller(run)


def test_a_pretrained_agent_is_evaluated_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["evaluate", "navigation-san", "--suite", "clean", "--env", STATIC, "--homeostasis", "none", "--episodes", "4",
          "--workers", "1", "--calibration-episodes", "1", "--json"])  # fmt: skip
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["run"] == "runs/navigation-san"
    assert result["cells"][0]["success"] >= 0.75
    (tmp_path / "runs" / "navigation-san" / "policy" / "manifest.json").write_text("{}")
    with pytest.raises(Exception, match="navigation-san"):
        copy_pretrained("navigation-san", tmp_path / "runs")
