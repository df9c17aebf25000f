"""Forward passes and training steps of 4,096 samples on a CUDA device, where there is one.

``python -m benchmarks.gpu_step [--json]``. Without a device it says so and measures nothing (``--tiny`` runs the
arms on the CPU, to show that they work). Peers come with the extra ``bench``; the limit is the products alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.common import Arm, alternate, arguments, fastest, over, report
from homeo_rl.snn import kernels


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not told.tiny:
        report({"no CUDA device": 0.0}, {}, as_json=told.json, note="nothing was measured: no CUDA device")
        return
    size = networks.TINY if told.tiny else networks.Size()
    batch = 8 if told.tiny else 4096
    with torch.device(device):
        network, inputs = networks.ours(size)
        own, given, mlp = inputs(batch), networks.spikes(size, batch), networks.relu(size)
        peers, layers = networks.peers(size), networks.linears(size)
        rows = [torch.rand(size.steps * batch, width) for width in size.widths]
        falls = [torch.randn(size.steps * batch, width) for width in size.widths]

        def products(backward: bool) -> None:
            with torch.no_grad():
                for i, layer in enumerate(layers):
                    nn.functional.linear(rows[i], layer.weight, layer.bias)
                    if backward:
                        falls[i + 1].T @ rows[i]
                        if i > 0:
                            falls[i + 1] @ layer.weight

        def reference() -> Tensor:
            with kernels.use("reference"):
                return network(**own)[0]

        acting: dict[str, Callable[[], Tensor]] = {
            "ours": lambda: network(**own)[0],
            "ours, reference": reference,
            "ReLU network": lambda: mlp(given[0]),
        }
        acting |= {name: (lambda f=f: f(given)) for name, (f, _) in peers.items()}
        parameters = {"ours": network.parameters(), "ours, reference": network.parameters()}
        learning = {name: list(parameters.get(name, mlp.parameters())) for name in acting}
        learning |= {name: found for name, (_, found) in peers.items()}
        arms: dict[str, Arm] = {f"forward: {name}": _waiting(_silent(f)) for name, f in acting.items()}
        arms |= {f"training: {name}": _waiting(_learning(f, learning[name])) for name, f in acting.items()}
        arms["forward: products alone"] = _waiting(lambda: products(False))
        arms["training: products alone"] = _waiting(lambda: products(True))
        found = alternate(arms, rounds=3 if told.tiny else 40)
    ratios: dict[str, float | None] = {}
    for what in ("forward", "training"):
        mine = found[f"{what}: ours"]
        ratios[f"{what}_vs_fastest_peer"] = over(fastest(found, {f"{what}: {name}": 0 for name in peers}), mine)
        ratios[f"{what}_vs_reference"] = found[f"{what}: ours, reference"] / mine
        ratios[f"{what}_vs_limit"] = mine / found[f"{what}: products alone"]
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, for correctness only"
    note = f"{name}, batch {batch:,}; vs_fastest_peer, vs_reference: times faster (goal > 1); vs_limit: times its time"
    report(found, ratios, as_json=told.json, note=note)


def _silent(forward: Callable[[], Tensor]) -> Arm:
    def act() -> None:
        with torch.no_grad():
            forward()

    return act


def _learning(forward: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Arm:
    def act() -> None:
        for parameter in parameters:
            parameter.grad = None
        forward().sum().backward()

    return act


def _waiting(arm: Arm) -> Arm:
    """Return ``arm`` until the device has done it."""

    def act() -> None:
        arm()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return act


if __name__ == "__main__":
    main()
