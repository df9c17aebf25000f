"""One decision of one policy, and of batches: ours, the peers, a ReLU network and the products alone.

``python -m benchmarks.policy_step [--json]``; peers come with the extra ``bench``. Ours draws its spikes from given
numbers and reads out; the peers are given spikes. "checks" is what a door looks at before a decision: shape, type,
and the state's turn. Whether numbers are finite is seen by the compiled decision itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks import networks
from benchmarks.common import Arm, alternate, arguments, fastest, over, report
from homeo_rl.numerics.arrays import floats_of
from homeo_rl.snn import kernels
from homeo_rl.snn.state import NetworkState


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    size = networks.TINY if told.tiny else networks.Size()
    medians: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    network, inputs = networks.ours(size)
    mlp = networks.relu(size)
    peers = networks.peers(size)
    layers = networks.linears(size)
    with torch.inference_mode():
        for batch in (1,) if told.tiny else (1, 16, 64, 256):
            own, given = inputs(batch), networks.spikes(size, batch)
            rows = [torch.rand(size.steps * batch, width) for width in size.widths]

            def products(rows: list[torch.Tensor] = rows) -> None:
                for x, layer in zip(rows, layers, strict=False):
                    nn.functional.linear(x, layer.weight, layer.bias)

            def reference(own: dict[str, torch.Tensor] = own) -> None:
                with kernels.use("reference"):
                    network(**own)

            width, given_rows, state = size.widths[0], own["x"].numpy(), NetworkState(batch)

            def checks(
                rows: np.ndarray = given_rows, state: NetworkState = state, batch: int = batch, width: int = width
            ) -> None:
                floats_of(rows, (batch, width), what="observations", advice="", finite=False)
                state.successor()
                state.spent = False

            arms: dict[str, Arm] = {
                "checks": checks,
                "ours": lambda own=own: network(**own),
                "ours, reference": reference,
                "ReLU network, one pass": lambda given=given: mlp(given[0]),
                "T * B-row products alone": products,
            }
            arms |= {name: (lambda given=given, peer=peer: peer(given)) for name, (peer, _) in peers.items()}
            many = 100 if batch == 1 else 1
            found = alternate(arms, rounds=3 if told.tiny else 60, inner=1 if told.tiny else many)
            medians |= {f"batch {batch}: {name}": value for name, value in found.items()}
            end = "" if batch == 1 else f"_batch_{batch}"
            ratios[f"checks_us{end}"] = found["checks"]
            ratios[f"vs_fastest_peer{end}"] = over(fastest(found, peers), found["ours"])
            ratios[f"vs_mlp{end}"] = found["ReLU network, one pass"] / found["ours"]
            ratios[f"vs_limit{end}"] = found["ours"] / found["T * B-row products alone"]
    note = (
        "checks: what the doors of a session add, us of a decision; "
        "vs_fastest_peer, vs_mlp: how many times faster ours is (goals at batch 1: >= 30, >= 1); "
        "vs_limit: times the time of torch's products alone"
    )
    report(medians, ratios, as_json=told.json, note=note)


if __name__ == "__main__":
    main()
