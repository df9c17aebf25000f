"""Decisions of the Python session, by which the C controller checks itself wherever it is compiled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.exchange.c.description import Description
from homeo_rl.homeostasis.combined import CombinedMechanism
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.observer import split_observer
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference
from homeo_rl.snn.state import Weights, input_major

SEED = 1
"""Of the controller's own randomness."""

DAMAGE_SEED, LOST_SYNAPSES = 2, 0.3
"""The recorded damage: this share of the synapses into the second layer (of a network of one layer, the first) is
lost."""


@dataclass(frozen=True)
class Recording:
    """What the Python session did."""

    observations: np.ndarray  # [n, D]
    healthy: np.ndarray  # actions [n, K] of the healthy network with its mechanism
    healthy_digests: np.ndarray  # digest of all spike counts of each decision [n]
    damaged: np.ndarray  # actions of the damaged network, adapting without a sleep before it
    damaged_digests: np.ndarray  # as above
    slept: np.ndarray | None  # actions of the damaged network after a sleep; None where the mechanism does not sleep
    # observations of which some sensors break, actions and digests of the healthy network
    faulty: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    used: int = 0  # of these decisions, those in which an observer gave the policy something else than the measurement

    @property
    def distances(self) -> tuple[float, float]:
        """Mean distance of the actions from the healthy ones: damaged, and after the sleep."""
        slept = self.damaged if self.slept is None else self.slept
        return float(np.abs(self.damaged - self.healthy).mean()), float(np.abs(slept - self.healthy).mean())


def record(
    made: Description,
    observations: np.ndarray,
    plugin: Homeostasis | None = None,
    references: tuple[LayerReference, ...] = (),
    memory: Memory | None = None,
    faulty: np.ndarray | None = None,
) -> Recording:
    """Record decisions for ``observations`` [n, D], healthy and damaged, and with an observer for ``faulty`` ones."""
    controller, layer = made.controller, choose_layer(made)
    trained = made.network.parameters_of_layers()
    lost = remove_synapses(trained, layer, LOST_SYNAPSES, DAMAGE_SEED)
    network = split_observer(plugin).network
    session = Session(controller, 1, plugin=network, references=references, memory=memory)
    healthy = _act(session, observations, trained, made)
    awake = Session(controller, 1, plugin=_awake_only(made, network), references=references)
    damaged = _act(awake, observations, lost, made)
    slept = None if made.mechanism.sleep is None else _act(session, observations, lost, made)[0]
    if faulty is None or made.senses is None:
        return Recording(observations, *healthy, *damaged, slept)
    session = Session(
        controller, 1, plugin=plugin, references=references, memory=memory, observer_memory=made.senses.memory
    )
    acted = _act(session, faulty, trained, made)
    assert session.observer is not None
    return Recording(observations, *healthy, *damaged, slept, (faulty, *acted), session.observer.used[0])


def choose_layer(made: Description) -> int:
    """Return which layer loses synapses in the recording."""
    return min(1, len(made.layers) - 1)


def remove_synapses(weights: Weights, layer: int, share: float, seed: int) -> Weights:
    """Return weights without a random share of a layer's synapses, as ``homeo_damage_synapses`` leaves them."""
    weight = weights[layer].weight
    draws = np.random.default_rng(seed).random(weight.numel(), dtype=np.float32)
    kept = torch.as_tensor(draws.reshape(weight.shape[1], weight.shape[0]) >= np.float32(share)).T
    changed = weights[layer]._replace(weight=input_major(weight * kept))
    return (*weights[:layer], changed, *weights[layer + 1 :])


def digest_spikes(rates: Sequence[np.ndarray], steps: int) -> int:
    """Return the FNV-1a digest of spike counts: two bytes a neuron, the low one first."""
    counts = np.concatenate([np.rint(rate * steps) for rate in rates]).astype("<u2").tobytes()
    value = 0x811C9DC5
    for byte in counts:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def spike_rates(made: Description, session: Session) -> list[np.ndarray]:
    """Return the rates of what fires, one array [N] a layer; the encoder first, unless its outputs are graded."""
    rates = [rate[0].numpy() for rate in session.state.rates]
    first = 1 if made.network.spec.encoder.kind == "current" else 0
    return [rate for k, rate in enumerate(rates) if k >= first and (k == 0 or made.layers[k - 1].fires)]


def _awake_only(made: Description, plugin: Homeostasis | None) -> Homeostasis | None:
    """Return what adapts where nothing sleeps; a rule that rehearses is shut then."""
    mechanism = made.mechanism
    if mechanism.rehearsal is not None or mechanism.sleep is None:
        return plugin if mechanism.rehearsal is None else None
    if mechanism.bcm is not None and mechanism.energy is not None:
        return CombinedMechanism(thresholds=mechanism.energy, weights=mechanism.bcm)
    return mechanism.awake


def _act(
    session: Session, observations: np.ndarray, weights: Weights, made: Description
) -> tuple[np.ndarray, np.ndarray]:
    session.begin(0, np.random.default_rng(SEED))
    session.set_weights(0, weights)
    steps, actions, digests = made.network.spec.steps, [], []
    for observation in observations:
        actions.append(session.act(observation[None])[0])
        digests.append(digest_spikes(spike_rates(made, session), steps))
    return np.array(actions, dtype=np.float32).reshape(len(actions), -1), np.array(digests, dtype=np.uint32)


def draw_observations(controller: Controller, count: int, seed: int = 0) -> np.ndarray:
    """Draw observations [count, D] as the normaliser knows them; without one, between -0.2 and 1.2."""
    normaliser, rng = controller.normaliser, np.random.default_rng(seed)
    shape = (count, controller.spec.network.inputs)
    if not normaliser.active:
        return rng.uniform(-0.2, 1.2, shape).astype(np.float32)
    spread = np.sqrt(normaliser.running_var.numpy() + normaliser.epsilon)
    return (normaliser.running_mean.numpy() + spread * rng.normal(size=shape)).astype(np.float32)
