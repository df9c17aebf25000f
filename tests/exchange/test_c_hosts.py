"""Shipped policies in C over 1,000 decisions of their own robots: healthy, damaged, adapting, after a sleep.

`make test-long` has all of them, the other tests four.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_controller import CController, compile_library, memory_in_float64, needs_gcc, same_bits

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.exchange.c.description import describe
from homeo_rl.exchange.c.recording import remove_synapses
from homeo_rl.homeostasis import SleepHomeostat, make_homeostasis
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import LayerReference
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.offline_repair import healthy_model
from homeo_rl.snn.replay import Replay, memory_for, remember
from homeo_rl.snn.state import Weights
from homeo_rl.storage.pretrained import list_pretrained
from homeo_rl.workflows.deploy import observe

pytestmark = needs_gcc
HOSTS = ["popsan-halfcheetah-0", "popsan-ant-0", "navigation-san", "san-navigation-0"]
DECISIONS, HEALTHY, SEED = 1000, 300, 7
ALL_HOSTS = [
    *HOSTS,
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in list_pretrained() if name.startswith(("popsan", "san")) and name not in HOSTS
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Host:
    controller: Controller
    observations: np.ndarray
    references: tuple[LayerReference, ...]
    memory: Memory


@pytest.fixture(scope="module", params=ALL_HOSTS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    run = Run.of(copy_pretrained(request.param, tmp_path_factory.mktemp("host")))
    controller = load_controller(run)
    env = make_env(run.spec.env, run.spec.env_kwargs)
    xs = observe(controller, env, DECISIONS)
    env.close()
    assert isinstance(controller.network, SpikingNetwork)
    session, moments = Session(controller, 1), RateMoments()
    session.begin(0, np.random.default_rng(0))
    for x in xs[:HEALTHY]:
        session.act(x[None])
        moments.add([rate[0] for rate in session.rates()])
    rates, squares = ([torch.tensor(part) for part in parts] for parts in moments.means())
    chosen = xs[np.random.default_rng(1).permutation(DECISIONS)[:97]]  # no distance in spikes is a tolerance
    memory = remember(controller.network, controller.normaliser(torch.as_tensor(chosen)))
    return Host(controller, xs, controller.network.references(rates, squares), memory)


def start(host: Host, arm: str, folder: Path) -> tuple[CController, Session]:
    plugin = make_homeostasis(arm)
    options: dict[str, Any] = {"references": host.references, "memory": host.memory}
    made = describe(host.controller, plugin, **options)
    c = CController(compile_library(folder, {"tested": made}), "tested", made, writable=True)
    session = Session(host.controller, 1, plugin=plugin, **options)
    session.begin(0, np.random.default_rng(SEED))
    c.reset(SEED)
    return c, session


def compare(c: CController, session: Session, xs: np.ndarray) -> None:
    for x in xs:
        assert c.call("maybe_sleep") == 0
        expected = session.act(x[None])[0]
        assert same_bits([c.act(x)], [expected])
        assert same_bits(c.rates(), [rate[0].numpy() for rate in session.state.rates])


def damage(c: CController, session: Session) -> Weights:
    lost = remove_synapses(session.trained, 1, 0.3, 2)
    session.set_weights(0, lost)
    c.write(1, lost[1].weight.numpy(), lost[1].bias.numpy())
    return lost


def test_decisions_and_adapted_weights_are_equal_bit_for_bit(host: Host, tmp_path: Path) -> None:
    c, session = start(host, "dwam-paper:eta=3e-4", tmp_path)
    compare(c, session, host.observations[:HEALTHY])
    damage(c, session)
    compare(c, session, host.observations[HEALTHY:])
    for index, adaptation in enumerate(session.state.adaptation):
        assert same_bits([c.read("delta", index)], [adaptation["delta"][0].numpy()])
        assert np.abs(c.read("delta", index)).max() > 0


def test_a_healthy_host_never_sleeps_and_a_damaged_one_sleeps_once(host: Host, tmp_path: Path) -> None:
    c, session = start(host, "sleep:form=delta:passes=6", tmp_path)
    compare(c, session, host.observations[:HEALTHY])
    assert c.sleeps == 0
    damage(c, session)
    healthy, damaged = (Session(host.controller, 1) for _ in range(2))
    for k, one in enumerate((healthy, damaged)):
        one.begin(0, np.random.default_rng(SEED))
        one.set_weights(0, remove_synapses(session.trained, 1, 0.3, 2) if k else session.trained)
    xs, actions = host.observations[HEALTHY:], {"healthy": [], "damaged": [], "python": [], "c": []}
    assert c.call("selftest") == 2
    for x in xs[:10]:  # both sleep before the decision at which a test is due
        c.call("maybe_sleep")
        c.act(x)
        session.act(x[None])
    # The self-test above counts as one: a tested state is not tested again until it changes.
    assert session.sleeps == [1]
    assert c.sleeps == 0
    assert c.call("sleep") == 0
    assert c.sleeps == 1
    assert c.call("restart", SEED) == 0
    slept = Session(host.controller, 1)
    slept.begin(0, np.random.default_rng(SEED))
    slept.set_weights(0, tuple(
        layer._replace(weight=torch.as_tensor(c.read("weight", k).copy()), bias=torch.as_tensor(c.read("bias", k)))
        for k, layer in enumerate(session.trained)
    ))  # fmt: skip
    python = Session(host.controller, 1)
    python.begin(0, np.random.default_rng(SEED))
    python.set_weights(0, tuple(layer._replace(weight=layer.weight[0], bias=layer.bias[0])
                                for layer in session.state.weights or ()))  # fmt: skip
    for x in xs:
        actions["c"].append(c.act(x))
        assert same_bits([actions["c"][-1]], [slept.act(x[None])[0]])
        for name, one in (("healthy", healthy), ("damaged", damaged), ("python", python)):
            actions[name].append(one.act(x[None])[0])
    apart = {
        name: float(np.abs(np.stack(part) - np.stack(actions["healthy"])).mean()) for name, part in actions.items()
    }
    assert apart["python"] < apart["damaged"]
    assert apart["c"] == pytest.approx(apart["python"], abs=0.05 * apart["damaged"])


def test_the_default_sleep_is_pythons_memory_in_float64(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same candidates, the same weights, and not one spike that differs on what nobody remembers."""
    plugin, network = make_homeostasis("sleep"), host.controller.network
    assert isinstance(plugin, SleepHomeostat)
    assert isinstance(network, SpikingNetwork)
    made = describe(host.controller, plugin, host.references, host.memory)
    c = CController(compile_library(tmp_path, {"tested": made}, "-DHOMEO_DOUBLE"), "tested", made, double=True)
    memory = memory_for(plugin, host.memory, network.parameters_of_layers())
    dreamed = healthy_model.encode_dreams(network, memory, plugin.dreams).double()
    monkeypatch.setattr(healthy_model, "encode_dreams", lambda *_: dreamed)
    unseen = remember(network, host.controller.normaliser(torch.as_tensor(host.observations[-200:])))
    network.double()
    try:
        trained = network.parameters_of_layers()
        replay = Replay(network, memory_in_float64(memory), host.controller.unit_action)
        held = Replay(network, memory_in_float64(unseen))
        for lost in ((1,), (0, 1, 2)):
            weights = trained
            for layer in lost:
                weights = remove_synapses(weights, layer, 0.3, 2)
            c.reset(SEED)
            for index, layer_weights in enumerate(weights):
                c.write(index, layer_weights.weight.numpy(), layer_weights.bias.numpy())
            repair = replay.rehearse(plugin, weights)
            assert c.call("sleep") == 0
            assert c.kept() == list(repair.chosen)
            written = tuple(
                old._replace(weight=torch.as_tensor(c.read("weight", k)), bias=torch.as_tensor(c.read("bias", k)))
                for k, old in enumerate(trained)
            )
            for mine, theirs, kept in zip(written, repair.weights, repair.chosen, strict=True):
                near = 1e-3 if kept == "ridge" else 1e-9  # its iterations go on after they have converged
                torch.testing.assert_close(mine.weight, theirs.weight, rtol=0, atol=near)
                torch.testing.assert_close(mine.bias, theirs.bias, rtol=0, atol=near)
            answers = zip(held.network_responses(written), held.network_responses(repair.weights), strict=True)
            assert all(torch.equal(mine, theirs) for mine, theirs in answers)
    finally:
        network.float()


def test_a_host_that_sleeps_by_default_goes_on_as_in_python(host: Host, tmp_path: Path) -> None:
    """A whole episode in float32: healthy, damaged, asleep at the same decision, and repaired to the same worth."""
    c, session = start(host, "sleep", tmp_path)
    compare(c, session, host.observations[:HEALTHY])
    damage(c, session)
    healthy, damaged = (Session(host.controller, 1) for _ in range(2))
    for one, weights in ((healthy, session.trained), (damaged, remove_synapses(session.trained, 1, 0.3, 2))):
        one.begin(0, np.random.default_rng(SEED))
        one.set_weights(0, weights)
        for x in host.observations[:HEALTHY]:
            one.act(x[None])
    apart: dict[str, list[float]] = {"python": [], "c": [], "damaged": []}
    for x in host.observations[HEALTHY:]:
        c.call("maybe_sleep")
        wanted = healthy.act(x[None])[0]
        acted = {"c": c.act(x), "python": session.act(x[None])[0], "damaged": damaged.act(x[None])[0]}
        assert [c.sleeps] == session.sleeps
        for name, action in acted.items():
            apart[name].append(float(np.abs(action - wanted).mean()))
    assert c.sleeps == 1
    mean = {name: float(np.mean(part)) for name, part in apart.items()}
    assert mean["python"] < mean["damaged"]
    assert mean["c"] == pytest.approx(mean["python"], abs=0.01 * mean["damaged"])
