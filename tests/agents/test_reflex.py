"""A compiled reflex beside a policy: events, gates, damage, arms, what the report says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from homeo_rl.agents.controller import Controller, load_controller, save_controller
from homeo_rl.agents.reflex import Reflex, detect_event
from homeo_rl.agents.session import Session
from homeo_rl.cli import main
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.specification import REFLEXES, Document, read_document
from homeo_rl.degradations import load_suite
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.reflex_violations import count_violations
from homeo_rl.evaluation.rollout import Episode
from homeo_rl.report.build import build
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.spec import ControllerSpec, EventSpec, NetworkSpec, ReflexSpec, RunSpec, dump, parse
from homeo_rl.workflows.compose import compose


@pytest.fixture(scope="module")
def composed(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    run = copy_pretrained("navigation-san", folder)
    made, _, certificate = compose(run, read_document("navigation-brake"), folder / "braked", where="navigation-brake")
    assert certificate.equal
    return made


def test_the_shipped_reflex_is_one_neuron(composed):
    spec = load_controller(composed).spec
    assert spec.reflex is not None
    assert (spec.reflex.network.neurons, len(spec.reflex.network.taps), spec.reflex.network.latency) == (1, 9, 0)
    assert composed.spec.origin == "compose"
    assert parse(ControllerSpec, json.loads(json.dumps(dump(spec))), where="spec") == spec


def test_events():
    seen = torch.tensor([[0.1, 0.8, 0.9], [0.1, 0.2, 0.9], [0.1, 0.2, 0.3]])
    assert detect_event(EventSpec(entries=(1, -1), above=0.7, least=2), seen).tolist() == [True, False, False]
    assert detect_event(EventSpec(entries=(1, 2), above=0.7), seen).tolist() == [True, True, False]
    assert detect_event(EventSpec(entries=(0, 1), below=0.15), seen).tolist() == [True, True, True]


def reflex_of(gates: list[dict], low: tuple[float, ...]) -> Reflex:
    """A reflex that acts whenever entry 0 of the observation is positive."""
    document = parse(
        Document, {"inputs": {"a": {"entries": [0], "above": 0.0}}, "outputs": {"on": "a"}, "gates": gates}, where="d"
    )
    compiled = compile_function(document.function(), document.neurons.neurons())
    spec = ReflexSpec(
        name="d", events=document.events("d"), outputs=("on",), gates=document.gates, network=compiled.recurrent
    )
    reflex = Reflex(spec, low)
    with torch.no_grad():
        reflex.network.weight.copy_(torch.from_numpy(compiled.weight()))
    return reflex.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ({"kind": "inhibit", "entries": [0]}, [-1.0, 0.9, 0.2]),
        ({"kind": "inhibit", "entries": [0, 1], "keep_difference": True}, [-1.0, -0.6, 0.2]),
        ({"kind": "clamp", "entries": [1, 2], "low": 0.3, "high": 0.6}, [0.5, 0.6, 0.3]),
        ({"kind": "clamp", "entries": [1], "high": 0.6}, [0.5, 0.6, 0.2]),
        ({"kind": "override", "entries": [2, 0], "values": [0.7, -0.3]}, [-0.3, 0.9, 0.7]),
    ],
)
def test_gates(gate, expected):
    reflex = reflex_of([{"when": "on", **gate}], (-1.0, -1.0, -1.0))
    action = torch.tensor([[0.5, 0.9, 0.2], [0.5, 0.9, 0.2]])
    out, _ = reflex(torch.tensor([[1.0], [-1.0]]), action, reflex.initial_state(2))
    torch.testing.assert_close(out[0], torch.tensor(expected))
    assert torch.equal(out[1], action[1])
    assert reflex.check_gates(torch.tensor([[1.0], [1.0]]), out).tolist() == [True, False]


def test_a_discrete_action_is_overridden():
    reflex = reflex_of([{"when": "on", "kind": "override", "values": [2]}], ())
    out, _ = reflex(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1]), reflex.initial_state(2))
    assert out.tolist() == [2, 1]


def test_the_composed_policy_differs_only_while_the_reflex_is_on(composed):
    controller = load_controller(composed)
    bare = load_controller(copy_pretrained("navigation-san", composed.path.parent))
    whole, alone = Session(controller, 4), Session(bare, 4)
    off = Session(controller, 4, reflex=False)
    rng = np.random.default_rng(0)
    for slot in range(4):
        for session in (whole, alone, off):
            session.begin(slot, np.random.default_rng(slot))
    told = 0
    for _ in range(60):
        seen = rng.random((4, 24), dtype=np.float32)
        seen[:2, 6:] *= 0.6
        actions = [session.act(seen) for session in (whole, alone, off)]
        assert np.array_equal(actions[1], actions[2])
        events, spikes = whole.reflexes()
        assert np.array_equal(events[:, 0], (seen[:, -14:-4] > 0.7).sum(1) >= 2)
        on = spikes[:, 0]
        told += int(on.sum())
        assert np.array_equal(actions[0][~on], actions[1][~on])
        assert np.all(actions[0][on].min(1) == 0.0)
        np.testing.assert_allclose(np.diff(actions[0][on]), np.diff(actions[1][on]), atol=1e-6)
    assert told > 10
    assert off.reflexes() is None


def test_slots_do_not_touch_each_other(composed):
    """One slot ends and another is damaged; the others act as if they were alone."""
    controller = load_controller(composed)
    seen = np.random.default_rng(1).random((40, 3, 24), dtype=np.float32)
    together = Session(controller, 3)
    alone = [Session(controller, 1) for _ in range(3)]
    for slot in range(3):
        together.begin(slot, np.random.default_rng(slot))
        alone[slot].begin(0, np.random.default_rng(slot))
    broken = [layer._replace(weight=layer.weight * 0.0) for layer in controller.reflex.network.parameters_of_layers()]
    together.set_reflex(1, tuple(broken))
    alone[1].set_reflex(0, tuple(broken))
    for t in range(20):
        got = together.act(seen[t])
        for slot in range(3):
            assert np.array_equal(got[slot], alone[slot].act(seen[t, slot : slot + 1])[0])
        assert not together.reflexes()[1][1].any()
    together.select([2, 1])
    for t in range(20, 40):
        got = together.act(seen[t, [2, 1]])
        assert np.array_equal(got[0], alone[2].act(seen[t, 2:3])[0])
        assert np.array_equal(got[1], alone[1].act(seen[t, 1:2])[0])
    together.begin(1, np.random.default_rng(9))  # a new episode is whole again
    spikes = [
        together.act(np.ones((2, 24), dtype=np.float32)) is not None and together.reflexes()[1][1, 0] for _ in range(4)
    ]
    assert spikes == [False, True, True, True]


def test_evaluated_with_and_without(composed, tmp_path):
    """Both arms meet the same damage; a whole reflex breaks its specification never, a broken one is found out."""
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        yaml.safe_dump(
            {
                "name": "mine",
                "version": 1,
                "env": "homeo_rl/Navigation-v0",
                "conditions": [
                    {"name": "clean"},
                    {"name": "lidar", "degradations": [{"kind": "lidar-gaussian", "std": 1.0}]},
                    {"name": "weights", "degradations": [{"kind": "stuck-neurons", "fraction": 1.0}]},
                ],
            }
        )
    )
    plan = Plan(suite=load_suite(str(suite)), arms=("none", "no-reflex"), episodes=2, seed=3, calibration_episodes=1)
    result = evaluate(composed, plan, workers=1)
    rows = {
        (s.arm, s.condition): [r for r in result.scores if (r.arm, r.condition) == (s.arm, s.condition)]
        for s in result.scores
    }
    for (arm, condition), scores in rows.items():
        if arm == "no-reflex":
            assert all(s.violations is None and s.reflex is None for s in scores)
        elif condition != "weights":
            assert all(s.violations == 0 for s in scores)
    assert sum(s.reflex for s in rows["none", "lidar"]) > 0
    assert sum(s.violations for s in rows["none", "weights"]) > 0
    # The bare run gives what the arm without reflex gives, to the last digit: its damage is its own.
    bare = copy_pretrained("navigation-san", composed.path.parent)
    alone = evaluate(bare, replace(plan, arms=("none",)), workers=1)
    mine = [s for s in result.scores if s.arm == "no-reflex"]
    assert [(s.total, s.length, s.outcome) for s in alone.scores] == [(s.total, s.length, s.outcome) for s in mine]
    report = build([result.folder], tmp_path)
    page = report.page.read_text()
    assert "## Reflex" in page
    assert "against its specification" in page
    assert any(d.what == "collision" for d in report.differences)
    with pytest.raises(UsageError, match="expected a policy with a reflex"):
        evaluate(bare, plan, workers=1)


def test_a_disobeyed_reflex_is_counted(composed):
    reflex = load_controller(composed).reflex
    on, off = np.array([True]), np.array([False])
    slow, fast = np.array([0.0, 0.3]), np.array([0.5, 0.8])
    right = [(on, off, fast), (on, on, slow), (off, on, slow)]
    assert count_violations(reflex, Episode(0, 0, reflex=right)) == 0
    assert count_violations(reflex, Episode(0, 0, reflex=[(on, off, fast), (on, on, fast), (off, on, slow)])) == 1
    assert count_violations(reflex, Episode(0, 0, reflex=[(on, off, fast), (on, off, fast), (off, on, slow)])) == 1


def test_a_reflex_beside_choices(tmp_path):
    network = NetworkSpec(inputs=4, outputs=2, body="mlp", hidden=(8,))
    run = Run.create(tmp_path / "run", RunSpec(origin="train", env="CartPole-v1"))
    save_controller(run, Controller(ControllerSpec(network=network)))
    document = parse(
        Document,
        {
            "inputs": {"left": {"entries": [2], "below": -0.05}, "right": {"entries": [2], "above": 0.05}},
            "outputs": {"push_left": "left and not right", "push_right": "right"},
            "gates": [
                {"when": "push_left", "kind": "override", "values": [0]},
                {"when": "push_right", "kind": "override", "values": [1]},
            ],
        },
        where="catch",
    )
    made, _, _ = compose(run, document, tmp_path / "made", where="catch")
    plan = Plan(suite=load_suite("clean"), arms=("none", "no-reflex"), episodes=3, seed=0)
    scores = evaluate(made, plan, workers=1).scores
    assert sum(s.violations or 0 for s in scores) == 0
    assert np.mean([s.total for s in scores if s.arm == "none"]) > np.mean(
        [s.total for s in scores if s.arm == "no-reflex"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ["prox"]}, "inputs with events"),
        ({"gates": []}, "at least one gate"),
        ({"gates": [{"when": "brke", "kind": "inhibit", "entries": [0]}]}, "did you mean 'brake'"),
        ({"gates": [{"when": "brake", "kind": "inhibit", "entries": [2]}]}, "entries of an action of 2"),
        ({"gates": [{"when": "brake", "kind": "inhibit"}]}, "at least one"),
        ({"gates": [{"when": "brake", "kind": "clamp", "entries": [0]}]}, "low, high or both"),
        ({"gates": [{"when": "brake", "kind": "clamp", "entries": [0], "low": 1.0, "high": 0.0}]}, "low <= high"),
        ({"gates": [{"when": "brake", "kind": "override", "entries": [0, 1], "values": [0.0]}]}, "a value an entry"),
        ({"gates": [{"when": "brake", "kind": "stop", "entries": [0]}]}, "inhibit"),
        ({"inputs": {"prox": {"entries": [99], "above": 0.7}}}, "entries of an observation of 24"),
        ({"inputs": {"prox": {"entries": [3]}}}, "above or below"),
        ({"inputs": {"prox": {"entries": [3], "above": 0.1, "least": 2}}}, "1 to 1"),
        ({"outputs": {"brake": "cnt(prox, 2, window=3)"}}, "did you mean 'count'"),
        ({"neurons": {"beta": "9/8"}}, "leak of 0 to 1"),
        ({"neurons": {"beta": "a lot"}}, "7/8 or 0.875"),
        ({"neurons": {"reset": "none"}}, "one of soft"),
        ({"neuron": {}}, "did you mean 'neurons'"),
    ],
)
def test_documents_that_do_not_fit(composed, tmp_path, capsys, change, message):
    path = tmp_path / "reflex.yaml"
    document = yaml.safe_load((REFLEXES / "navigation-brake.yaml").read_text())
    path.write_text(yaml.safe_dump(document | change))
    bare = composed.path.parent / "navigation-san"
    with pytest.raises(SystemExit) as stopped:
        main(["compose", str(bare), "--reflex", str(path), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in told
    assert len(told.splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_more_refusals(composed, tmp_path, capsys):
    for words, message in [
        (
            ["compose", str(composed.path), "--reflex", "navigation-brake", "--out", str(tmp_path / "o")],
            "without reflex",
        ),
        (["compose", str(composed.path), "--reflex", "nothing.yml", "--out", str(tmp_path / "o")], "found none"),
        (["evaluate", str(composed.path), "--homeostasis", "none,no-reflx"], "no-reflx"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.long
def test_a_million_decisions_without_a_violation(composed, tmp_path):
    """Under every lidar condition, judged by the reference machine on the events that were seen."""
    lidar = [("clean", []), ("lidar-0.2", [{"kind": "lidar-stuck", "beams": [2, 8, 14], "range": 0.2}]),
             ("lidar-6.0", [{"kind": "lidar-stuck", "beams": [2, 8, 14], "range": 6.0}]),
             ("lidar-gaussian", [{"kind": "lidar-gaussian", "std": 1.0}])]  # fmt: skip
    suite = tmp_path / "suite.yaml"
    conditions = [{"name": name, "degradations": parts} for name, parts in lidar]
    suite.write_text(
        yaml.safe_dump({"name": "lidar", "version": 1, "env": "homeo_rl/Navigation-v0", "conditions": conditions})
    )
    plan = Plan(suite=load_suite(str(suite)), arms=("none",), episodes=600, seed=11)
    scores = evaluate(composed, plan).scores
    decisions = sum(s.length for s in scores)
    print(f"{decisions:,} decisions, {sum(s.violations or 0 for s in scores)} violations")
    for name, _ in lidar:
        mine = [s for s in scores if s.condition == name]
        hits = sum(s.outcome == "collision" for s in mine)
        on, length = np.mean([s.reflex for s in mine]), sum(s.length for s in mine)
        print(f"{name}: {length:,} decisions, reflex on {on:.3f}, {hits} collisions")
    assert decisions >= 1_000_000
    assert sum(s.violations or 0 for s in scores) == 0
