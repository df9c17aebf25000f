"""Who computes a decision: the one table, row by row, and that the registries that it reads agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from networks import fresh, network

from homeo_rl.errors import NonFiniteInput
from homeo_rl.homeostasis import BDETT, DWAM, CombinedMechanism, Homeostasis, LinearHomeostat, PaperDWAM
from homeo_rl.snn import kernels
from homeo_rl.snn.kernels import dispatch
from homeo_rl.snn.neurons import MODELS
from homeo_rl.spec import NEURON_KINDS, NeuronSpec

MANY = dispatch.MAX_EVENT_DRIVEN_ROWS + 1


class OwnThresholds(BDETT):
    """Thresholds that no compiled code knows."""


@pytest.mark.parametrize(
    ("fields", "plugin", "rows", "grad", "expected"),
    [
        ({}, None, 1, False, "decision"),
        ({}, None, MANY, False, "stack"),
        ({}, None, 1, True, "stack"),
        ({}, PaperDWAM(), MANY, False, "decision"),
        ({}, PaperDWAM(), 1, True, "layers"),
        ({}, BDETT(), 1, False, "decision"),
        ({}, OwnThresholds(), 1, False, "layers"),
        ({}, CombinedMechanism(thresholds=BDETT(), weights=LinearHomeostat()), 1, False, "decision"),
        ({}, CombinedMechanism(thresholds=OwnThresholds(), weights=DWAM()), 1, False, "layers"),
        ({"membrane": "episode"}, None, 1, False, "decision"),
        ({"membrane": "episode"}, None, 1, True, "layers"),
        ({"neuron": {"kind": "plif"}}, None, 1, False, "layers"),
        ({"initial": "constant"}, None, 1, False, "stack"),
        ({"initial": "neuron"}, None, 1, False, "decision"),
    ],
)
def test_the_table(fields: dict[str, Any], plugin: Homeostasis | None, rows: int, grad: bool, expected: str) -> None:
    if "neuron" in fields:
        fields = fields | {"neuron": NeuronSpec(**fields["neuron"])}
    net = network(**fields)
    x = np.zeros((rows, net.spec.inputs))
    with torch.set_grad_enabled(grad), kernels.use("auto"):
        assert dispatch.route(net.spec, x, fresh(net, plugin, rows)) == expected
    with torch.set_grad_enabled(grad), kernels.use("reference"):
        assert dispatch.route(net.spec, x, None) == "layers"


def test_rows_that_lie_in_no_array_are_not_compiled() -> None:
    net = network()
    with torch.no_grad():
        assert dispatch.route(net.spec, torch.zeros(1, net.spec.inputs, dtype=torch.float64), None) == "stack"


def test_every_neuron_kind_has_a_model() -> None:
    assert set(NEURON_KINDS) == set(MODELS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e16])
@pytest.mark.parametrize("plugin", [None, PaperDWAM(), BDETT(scope="decision")])
def test_what_is_refused_has_changed_nothing(value: float, plugin: Homeostasis | None) -> None:
    """The compiled decision looks at all rows before it writes: the state can still be used, and gives the same."""
    net = network()
    state = fresh(net, plugin, 2)
    twin = state.clone()
    x = torch.rand(2, net.spec.inputs, dtype=torch.float64)
    wrong = x.clone()
    wrong[1, 2] = value
    with torch.no_grad():
        with pytest.raises(NonFiniteInput, match=r"\(1, 2\)"):
            net(wrong, state, adapt=True)
        assert not state.spent
        (one, after), (other, after_twin) = net(x, state, adapt=True), net(x, twin, adapt=True)
    assert torch.equal(one, other)
    for layer, layer_twin in zip(after.adaptation, after_twin.adaptation, strict=True):
        assert all(torch.equal(layer[name], layer_twin[name]) for name in layer)


def test_groups_of_neurons_have_no_energy_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the energy rule has a kernel for one kind of neurons, not for the groups of multiscale-lif."""
    monkeypatch.setattr(kernels, "serving", lambda value, neuron=None: "triton")
    received = torch.zeros(1, 2, 3)
    assert dispatch.route_scan(received, NeuronSpec(), None, BDETT()) == "energy"
    assert dispatch.route_scan(received, NeuronSpec(kind="multiscale-lif"), None, BDETT()) == "reference"
    assert dispatch.route_scan(received, NeuronSpec(kind="multiscale-lif")) == "compiled"
