"""A decision with DWAM on all layers, for one environment and for many with weights of their own.

``python -m benchmarks.dwam_step [--json]``; the peers, which come with the extra ``bench``, run without plasticity.
"""

from __future__ import annotations

import os

import torch

from benchmarks import networks
from benchmarks.common import Arm, alternate, arguments, fastest, over, report
from homeo_rl.homeostasis import make
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import NetworkState


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    size = networks.TINY if told.tiny else networks.Size()
    many, cores = 4 if told.tiny else 64, os.cpu_count() or 1
    network, inputs = networks.ours(size)
    peers, given = networks.peers(size), networks.spikes(size, 1)
    with torch.inference_mode():
        arms: dict[str, Arm] = {
            "batch 1, no plug-in": _acting(network, inputs(1), "none"),
            "batch 1, DWAM": _acting(network, inputs(1), "dwam-paper"),
            "batch 1, BDETT": _acting(network, inputs(1), "bdett"),
        }
        arms |= {name: (lambda peer=peer: peer(given)) for name, (peer, _) in peers.items()}
        found = alternate(arms, rounds=3 if told.tiny else 40, inner=1 if told.tiny else 100)
        crowd: dict[str, Arm] = {
            f"batch {many}, no plug-in": _acting(network, inputs(many), "none"),
            f"batch {many}, DWAM": _acting(network, inputs(many), "dwam-paper"),
            f"batch {many}, DWAM, {cores} threads": _threaded(_acting(network, inputs(many), "dwam-paper"), cores),
        }
        found |= alternate(crowd, rounds=3 if told.tiny else 60)
    weights = sum(layer.weight.numel() + layer.bias.numel() for layer in network.parameters_of_layers())
    state = _state(network, "dwam-paper", many)
    held = sum(value.numel() for adaptation in state.adaptation for value in adaptation.values())
    one, crowded = found["batch 1, DWAM"], found[f"batch {many}, DWAM"]
    ratios = {
        "vs_fastest_peer": over(fastest(found, peers), one),
        "vs_plain": one / found["batch 1, no plug-in"],
        "crowd_time_per_environment": crowded / many / one,
        "crowd_time_per_environment_threaded": found[f"batch {many}, DWAM, {cores} threads"] / many / one,
        "crowd_memory_per_weights": held / (many * weights),
    }
    note = (
        "vs_fastest_peer: times faster than the fastest peer without plasticity (goal >= 10); vs_plain: times the "
        "decision without a plug-in (goal <= 3); crowd_*: time of an environment among many over one alone, and "
        "numbers held over weights (goals <= 1 and <= 1.1); threaded: on all cores"
    )
    report(found, ratios, as_json=told.json, note=note)


def _state(network: SpikingNetwork, arm: str, batch: int) -> NetworkState:
    widths = network.spec.widths[1:]
    references = network.references([torch.full((n,), 0.3) for n in widths], [torch.full((n,), 0.15) for n in widths])
    plugin = make(arm)
    return network.initial_state(batch, plugin=plugin, references=references if plugin else ())


def _acting(network: SpikingNetwork, inputs: dict[str, torch.Tensor], arm: str) -> Arm:
    """Return a decision after the other of a state that goes on."""
    kept = [_state(network, arm, inputs["x"].shape[0])]

    def act() -> None:
        kept[0] = network(inputs["x"], kept[0], adapt=True, noise=inputs["noise"])[1]

    return act


def _threaded(arm: Arm, threads: int) -> Arm:
    """Return ``arm`` on so many threads."""

    def act() -> None:
        torch.set_num_threads(threads)
        arm()
        torch.set_num_threads(1)

    return act


if __name__ == "__main__":
    main()
