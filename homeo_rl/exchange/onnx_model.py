"""A policy's deterministic decision as an ONNX model, from the raw observation to the action in its own units."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.errors import Finding, UsageError
from homeo_rl.exchange.decision import Decision
from homeo_rl.exchange.exported_file import ExportedFile, fingerprint
from homeo_rl.imports.optional_import import require
from homeo_rl.run import versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import dump

FORMAT = "homeo-rl onnx 1"
MOST_STEPS = 64
"""Every spike step is a part of the graph; beyond this many it grows out of hand."""

CHECKED = 256
"""Observations on which a model is compared with the policy, two decisions each."""

TOLERANCE, MOST_FLIPPED = 1e-4, 0.05
"""Of an action's range, what sums in another order may change; and the share of decisions in which they may flip a
spike, which changes more. A model that is wrong differs everywhere."""


def export_onnx(controller: Controller, *, spikes: bool = False) -> ExportedFile:
    """Return the model.

    Inputs are ``observation`` [batch, D]; where the encoder draws its spikes, ``noise`` [batch, T, N_enc], uniform
    numbers from 0 to 1 without 1; where something outlives a decision, ``episode_start`` [batch] and one input a state
    tensor. Outputs are ``action``, the state after (``next_...``) and, with ``spikes``, ``spikes_k`` [batch, T, N] of
    each layer.

    Raises:
        UsageError: the policy takes too many steps, or a package is not installed.
        Finding: the model, run by onnxruntime, does not do what the policy does.
    """
    _expressible(controller, spikes)
    for module in ("onnx", "onnxscript"):
        require(module, "onnx")
    decision = Decision(controller, spikes=spikes).eval()
    names = [held.name for held in decision.held]
    inputs = ["observation", *(["noise"] if decision.drawn else []), *(["episode_start", *names] if names else [])]
    network = controller.network
    firing = 0
    if spikes and isinstance(network, SpikingNetwork):
        firing = len(network.layers) - (0 if network.readout.spiking else 1)
    outputs = ["action", *(f"next_{name}" for name in names), *(f"spikes_{k}" for k in range(firing))]
    batch = torch.export.Dim("batch")
    rng = np.random.default_rng(0)
    inputs_of_three = (_observations(controller, 3, rng), *_noise(decision, 3, rng), *_state(decision, 3))
    shapes: dict[str, Any] = {"observation": {0: batch}}
    if inputs[1:]:
        shapes["beside"] = tuple({0: batch} for _ in inputs[1:])
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            decision,
            inputs_of_three,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    state = {held.name: list(held.shape) for held in decision.held}
    program.model.metadata_props.update(
        {
            "format": FORMAT,
            "controller": json.dumps(dump(controller.spec), sort_keys=True),
            "spec_sha256": fingerprint(controller.spec),
            "state": json.dumps(state, sort_keys=True),
            "versions": json.dumps(versions(), sort_keys=True),
        }
    )
    blob = program.model_proto.SerializeToString()
    return ExportedFile(blob, (*_describe(decision, inputs, outputs), _compare(decision, blob, inputs)))


def _describe(decision: Decision, inputs: list[str], outputs: list[str]) -> list[str]:
    """Return lines about what a reader gives and gets."""
    notes = [f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}"]
    if decision.drawn:
        steps, lines = decision.drawn
        notes.append(f"noise [batch, {steps}, {lines}]: new uniform float32 numbers in [0, 1) for every decision")
    if decision.held:
        notes.append("the state begins with anything of its shape where episode_start is True, zeros will do")
    return notes


def _expressible(controller: Controller, spikes: bool) -> None:
    network = controller.network
    spiking = isinstance(network, SpikingNetwork) and not isinstance(network, PascalNetwork)
    if spikes and not spiking:
        raise UsageError("--spikes: expected a policy of spiking neurons over time, this one has none; leave it out")
    if not spiking:
        return
    assert isinstance(network, SpikingNetwork)
    if network.spec.steps > MOST_STEPS:
        raise UsageError(f"--to onnx: expected at most {MOST_STEPS} spike steps a decision, got {network.spec.steps}")


def _observations(controller: Controller, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Draw observations [count, D] as the normaliser knows them."""
    normaliser = controller.normaliser
    size = normaliser.running_mean.shape[0]
    drawn = rng.uniform(0.0, 1.0, (count, size))
    if normaliser.active:
        spread = np.sqrt(normaliser.running_var.numpy() + normaliser.epsilon)
        drawn = normaliser.running_mean.numpy() + spread * rng.normal(size=(count, size))
    return torch.as_tensor(drawn, dtype=torch.float32)


def _noise(decision: Decision, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Return the numbers that the encoder draws for ``count`` decisions; nothing where it draws none."""
    if decision.drawn is None:
        return ()
    return (torch.as_tensor(rng.random((count, *decision.drawn), dtype=np.float32)),)


def _state(decision: Decision, count: int) -> tuple[torch.Tensor, ...]:
    """Return ``episode_start`` and zeros for what outlives a decision; nothing where nothing does."""
    zeros = [torch.zeros(count, *held.shape) for held in decision.held]
    return (torch.ones(count, dtype=torch.bool), *zeros) if zeros else ()


@torch.no_grad()
def _compare(decision: Decision, blob: bytes, inputs: list[str]) -> str:
    """Compare the model with the policy itself on random observations; return a line about it.

    Raises:
        Finding: they act differently.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return "not checked: onnxruntime is not installed"
    session: Any = require("onnxruntime", "onnx").InferenceSession(blob, providers=["CPUExecutionProvider"])
    controller, rng, held = decision.controller, np.random.default_rng(1), len(decision.held)
    spec = controller.spec
    span = 1.0 if spec.discrete else np.maximum(np.array(spec.high, dtype=np.float64) - np.array(spec.low), 1e-30)
    carried, state, apart = [value.numpy() for value in _state(decision, CHECKED)], None, []
    for _ in range(2):
        x, noise = _observations(controller, CHECKED, rng), _noise(decision, CHECKED, rng)
        expected, state = controller(x, state, noise=noise[0]) if noise else controller(x, state)
        got = session.run(
            None, dict(zip(inputs, [x.numpy(), *(part.numpy() for part in noise), *carried], strict=True))
        )
        apart.append(np.abs((got[0].astype(np.float64) - expected.numpy()) / span).reshape(CHECKED, -1).max(1))
        carried = [np.zeros(CHECKED, dtype=bool), *got[1 : 1 + held]] if held else []
    flipped = float((~(np.concatenate(apart) <= TOLERANCE)).mean())  # NaN is no action either
    if flipped > MOST_FLIPPED:
        raise Finding(
            f"--to onnx: {flipped:.1%} of {2 * CHECKED} actions differ from the policy's by more than {TOLERANCE:g} of "
            "their range; the model is not written"
        )
    same = f"{1.0 - flipped:.1%} of {2 * CHECKED} actions equal to {TOLERANCE:g} of their range"
    return f"checked with onnxruntime: {same}, greatest difference {max(map(np.max, apart)):.1e}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch's exporter from warning of its own internals and of packages that we do not use."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
