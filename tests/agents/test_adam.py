"""Claims on Adam in one call, above all that a training which is resumed takes the same steps."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from homeo_rl.agents.sb3.adam import Adam, align_moments
from homeo_rl.snn.state import input_major


def parameters() -> list[nn.Parameter]:
    """Return a matrix that lies transposed in memory, as a spiking layer's does, one that does not, and a bias."""
    torch.manual_seed(0)
    return [
        nn.Parameter(input_major(torch.randn(33, 20))),
        nn.Parameter(torch.randn(7, 20)),
        nn.Parameter(torch.ones(7)),
    ]


def descend(optimiser: torch.optim.Optimizer, steps: range) -> list[Tensor]:
    """Take steps along gradients that depend on the step and the parameters; return the parameters."""
    found = [part for group in optimiser.param_groups for part in group["params"]]
    for step in steps:
        optimiser.zero_grad()
        sum(
            (part * torch.linspace(-1, 1, part.numel()).view(part.shape) * (step + 1)).sin().sum() for part in found
        ).backward()
        optimiser.step()
    return [part.detach().clone() for part in found]


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1, "eps": 1e-5}, {"amsgrad": True}])
def test_steps_are_those_of_torch(settings: dict[str, Any]) -> None:
    """Within 1e-6 after ten steps, also of the cases that are left to torch."""
    found = [descend(kind(parameters(), lr=1e-2, **settings), range(10)) for kind in (torch.optim.Adam, Adam)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [Adam, torch.optim.AdamW])
def test_a_state_kept_as_plain_numbers_goes_on_to_the_bit(kind: Any) -> None:
    """torch pairs moments with weights by their place in memory, and files keep numbers in rows."""
    whole = descend(kind(parameters(), lr=1e-2, fused=True), range(10))
    first = kind(parameters(), lr=1e-2, fused=True)
    weights = descend(first, range(4))
    kept = copy.deepcopy(first.state_dict())
    kept["state"] = {
        index: {name: torch.from_numpy(value.numpy().copy(order="C")) for name, value in entries.items()}
        for index, entries in kept["state"].items()
    }
    again = parameters()
    with torch.no_grad():
        for part, value in zip(again, weights, strict=True):
            part.copy_(value)
    second = kind(again, lr=1e-2, fused=True)
    second.load_state_dict(kept)
    align_moments(second)
    for a, b in zip(whole, descend(second, range(4, 10)), strict=True):
        assert torch.equal(a, b)
