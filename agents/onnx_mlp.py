"""An ONNX graph of linear layers with ReLU as an MLP, where it is nothing else."""

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.onnx_graph import OnnxPolicy
from homeo_rl.errors import UsageError
from homeo_rl.spec import NetworkSpec

SAMPLES = 256
SQUASHES: tuple[Literal["tanh", "identity", "none"], ...] = ("tanh", "identity", "none")
TOLERANCE = 1e-4  # of the largest action: sums of float32 in another order differ by less


@torch.no_grad()
def mlp_of(policy: Controller) -> Controller:
    """Return a policy with the layers of an ONNX graph, which takes the same actions on random observations.

    Its outputs are squashed by tanh, clipped, or given as they are, to the bounds of the actions or to 1, whichever is
    what the graph does.

    Raises UsageError: the graph is more than linear layers with ReLU between them, and one of these at its end.
    """
    graph = policy.network
    assert isinstance(graph, OnnxPolicy)
    weights = graph.parameters_of_layers()
    draws = torch.as_tensor(np.random.default_rng(0).standard_normal((SAMPLES, graph.spec.inputs)), dtype=torch.float32)
    x = draws * torch.logspace(-1, 1, SAMPLES).unsqueeze(1)
    wanted = policy(x)[0]
    if graph.has_neurons and weights[0].weight.shape[1] == graph.spec.inputs:
        hidden = tuple(len(layer.bias) for layer in weights[:-1])
        network = NetworkSpec(inputs=graph.spec.inputs, outputs=len(weights[-1].bias), body="mlp", hidden=hidden)
        count = len(policy.spec.low)
        bounds = (policy.spec.low, policy.spec.high), ((-1.0,) * count, (1.0,) * count)
        for squash, (low, high) in itertools.product(SQUASHES, bounds):
            candidate = Controller(replace(policy.spec, network=network, squash=squash, low=low, high=high))
            parts = [(f"layers.{i}", layer) for i, layer in enumerate(weights)]
            tensors = {f"{name}.weight": layer.weight for name, layer in parts}
            candidate.network.load_state_dict(tensors | {f"{name}.bias": layer.bias for name, layer in parts})
            if torch.allclose(candidate(x)[0], wanted, rtol=0.0, atol=TOLERANCE * float(wanted.abs().max())):
                return candidate.eval().requires_grad_(False)
    raise UsageError(
        f"{graph.where}: expected a graph of linear layers with ReLU between them, and tanh, a clip or nothing behind "
        "the last one; convert the policy's own file (.zip, .safetensors)"
    )
