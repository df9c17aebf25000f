"""Small networks for the tests of kernels, and how to drive them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.homeostasis import Homeostasis
from homeo_rl.snn import SpikingNetwork
from homeo_rl.snn.neurons import MODELS
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import EncoderSpec, NetworkSpec, ReadoutSpec

ENCODERS: tuple[str, ...] = get_args(get_type_hints(EncoderSpec)["kind"])
READOUTS: tuple[str, ...] = get_args(get_type_hints(ReadoutSpec)["kind"])


def variants() -> Iterator[dict[str, Any]]:
    """Yield every registered neuron model with a compiled loop in all its forms; one of those with equal equations."""
    equations = set()
    for kind, model in MODELS.items():
        if model.kernel is None or model.integrate in equations:
            continue
        equations.add(model.integrate)
        for decay in (True, False) if model.leak is not None else (True,):
            for reset in ("soft", "hard") if model.reset is None else ("soft",):
                yield {"kind": kind, "decay_input": decay, "reset": reset, "threshold": 0.6, "tau": 3.0}


NEURONS = list(variants())
ARMS = [
    "none", "dwam-paper", "dwam-paper:zeta=none:scope=run", "bdett", "linear", "linear:target=bias", "bdett+dwam-paper",
    "bdett:scope=decision+dwam-paper:zeta=none", "bdett+linear",
]  # fmt: skip


def network(dtype: torch.dtype = torch.float64, seed: int = 0, **fields: Any) -> SpikingNetwork:
    torch.manual_seed(seed)
    chosen: dict[str, Any] = {"inputs": 3, "outputs": 2, "hidden": (16, 12), "steps": 5} | fields
    net = SpikingNetwork(NetworkSpec(**chosen)).to(dtype)
    with torch.no_grad():
        for part in net.layers:
            part.weight.mul_(3.0)  # type: ignore[operator,union-attr]  # enough current to make every layer fire
    return net


def fresh(net: SpikingNetwork, plugin: Homeostasis | None, batch: int) -> NetworkState:
    widths = net.spec.widths[1:]
    references = net.references([torch.full((n,), 0.3) for n in widths], [torch.full((n,), 0.15) for n in widths])
    return net.initial_state(batch, plugin=plugin, references=references if plugin else ())


def begun(controller: Controller, slots: int, **fields: Any) -> Session:
    """Return a session with an episode in every slot."""
    session = Session(controller, slots, **fields)
    for slot in range(slots):
        session.begin(slot, np.random.default_rng(slot))
    return session


def drive(
    net: SpikingNetwork, state: NetworkState, x: torch.Tensor, noise: torch.Tensor | None
) -> tuple[list[torch.Tensor], list[torch.Tensor], NetworkState]:
    """Make a decision for every x [M, B, D]; return outputs, all rates and the last state."""
    ys, rates = [], []
    with torch.no_grad():
        for i, one in enumerate(x):
            y, state = net(one, state, adapt=True, noise=None if noise is None else noise[i])
            ys.append(y.clone())
            rates.append(torch.cat([rate.flatten() for rate in state.rates]))
    return ys, rates, state
