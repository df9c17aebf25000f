"""Judge a reflex by its specification: the reference machine, run on the events that an episode saw."""

import json
from functools import lru_cache

import numpy as np
import torch

from homeo_rl.agents.reflex import Reflex
from homeo_rl.compiler.specification import Document
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.evaluation.episode import Episode
from homeo_rl.spec import parse


@lru_cache(maxsize=8)
def _function(name: str, text: str) -> SpikeFunction:
    """Return the function that a reflex of this name and document, as JSON, was compiled from."""
    return parse(Document, json.loads(text), where=name).function(name)


def count_violations(reflex: Reflex | None, episode: Episode) -> int:
    """Return how many of an episode's decisions break the specification.

    A decision does if an output of the network differs from what the reference machine says of the events so far (as
    many decisions ago as the network's latency), or if the action is not as the gates of the reference's outputs make
    it.
    """
    assert reflex is not None
    latency = reflex.spec.network.latency
    events = np.stack([event for event, _, _ in episode.reflex])
    spikes = np.stack([on for _, on, _ in episode.reflex])
    actions = torch.as_tensor(np.stack([action for _, _, action in episode.reflex]))
    expected = _function(reflex.spec.name, json.dumps(reflex.spec.document, sort_keys=True)).run(events[None])[0]
    expected = np.concatenate([np.zeros_like(expected[:latency]), expected[: len(expected) - latency]])
    wrong = np.any(expected != spikes, axis=1)
    wrong |= ~reflex.check_gates(torch.as_tensor(expected), actions).numpy()
    return int(wrong.sum())
