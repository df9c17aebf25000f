"""Forward and backward of one batch of 256: ours, the peers, a ReLU network, and the float32 products alone.

``python -m benchmarks.training_step [--json]``; peers come with the extra ``bench``.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.common import Arm, alternate, arguments, fastest, over, report
from homeo_rl.snn import kernels
from homeo_rl.snn.kernels import events


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    size = networks.TINY if told.tiny else networks.Size()
    batch = 8 if told.tiny else 256
    network, inputs = networks.ours(size)
    own, given = inputs(batch), networks.spikes(size, batch)
    mlp, peers, layers = networks.relu(size), networks.peers(size), networks.linears(size)
    rows = [torch.rand(size.steps * batch, width) for width in size.widths]
    falls = [torch.randn(size.steps * batch, width) for width in size.widths]

    def products() -> None:
        """All products of a forward and a backward pass: outputs, weights' and hidden layers' derivatives."""
        with torch.no_grad():
            for x, layer in zip(rows, layers, strict=False):
                nn.functional.linear(x, layer.weight, layer.bias)
            for i, layer in enumerate(layers):
                falls[i + 1].T @ rows[i]
                if i > 0:
                    falls[i + 1] @ layer.weight

    def train() -> None:
        _step(network(**own)[0], list(network.parameters()))

    def reference() -> None:
        with kernels.use("reference"):
            train()

    def single() -> None:
        os.environ["HOMEO_RL_PRODUCTS"] = "float"
        try:
            train()
        finally:
            del os.environ["HOMEO_RL_PRODUCTS"]

    arms: dict[str, Arm] = {
        "ours": train,
        "ours, products in float32": single,
        "ours, reference": reference,
        "ReLU network": lambda: _step(mlp(given[0]), list(mlp.parameters())),
        "T * B-row products alone (float32 limit)": products,
    }
    arms |= {name: (lambda f=f, p=p: _step(f(given), p)) for name, (f, p) in peers.items()}
    found = alternate(arms, rounds=3 if told.tiny else 60)
    limit = found["T * B-row products alone (float32 limit)"]
    ratios = {
        "vs_fastest_peer": over(fastest(found, peers), found["ours"]),
        "vs_mlp": found["ReLU network"] / found["ours"],
        "vs_limit": found["ours"] / limit,
        "vs_limit_float32": found["ours, products in float32"] / limit,
    }
    note = (
        f"products: {events.products() or 'events'}; vs_fastest_peer: times faster (goal >= 2); "
        "vs_limit: times the limit's time (goal <= 1.3, below 1 is below the float32 limit)"
    )
    report(found, ratios, as_json=told.json, note=note)


def _step(y: Tensor, parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
    y.sum().backward()


if __name__ == "__main__":
    main()
