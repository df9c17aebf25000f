"""Measure a converted policy against the one that was trained, on states that it visits and in paired episodes."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.agents.session import Session
from homeo_rl.conversion.certificate import Certificate, Kept, Returns
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.rollout import Step, episode_seed, rollout
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.snn.qcfs import level_of
from homeo_rl.snn.spike_accumulation import effective_steps, spike_values


def certify(
    run: Run,
    trained: Controller,
    converted: Controller,
    *,
    episodes: int,
    step_seconds: float = 1e-3,
    controls: dict[str, Controller] | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> Certificate:
    """Return the certificate of ``converted``, in the environment of ``run``.

    Pairs of episodes have the same seeds; a time step lasts ``step_seconds`` (s); ``controls`` are other policies whose
    returns are reported beside these two.
    """
    source, spiking, widths = trained.network, converted.network, converted.network.spec.widths
    assert isinstance(source, MLPNetwork)
    assert isinstance(spiking, PascalNetwork)
    policies = {"the trained network": trained, "the converted network": converted, **(controls or {})}
    played = {name: play(run, policy, "certificate", episodes, on_episode) for name, policy in policies.items()}
    first, second = played["the trained network"], played["the converted network"]
    seen = torch.as_tensor(np.concatenate([episode.observations for episode in first]))
    with torch.inference_mode():
        before = torch.as_tensor(np.concatenate([episode.actions for episode in first]))
        after, state = _one_by_one(converted, seen)
        rounded = None
        if spiking.spec.form == "dyadic":
            spiking.at_once = True
            rounded = int((_one_by_one(converted, seen)[0] == after).reshape(len(seen), -1).all(1).sum())
            spiking.at_once = False
        error = (after.double() - before.double()).abs().reshape(len(seen), -1)
        levels = _levels(source, trained.normaliser(seen))
        counts = [(rate * most).round() for rate, most in zip(state[1:-1], spiking.spec.levels_of_layers, strict=True)]
        spikes, added, analogue = (float(count.mean()) for count in spiking.operations(state))
        flipped = sum(int((a != b).sum()) for a, b in zip(levels, counts, strict=True))
    return Certificate(
        source=str(run.path), form=spiking.spec.form, neuron=spiking.spec.accumulator, widths=widths,
        levels=spiking.spec.levels_of_layers, time_steps=spiking.spec.steps, step_seconds=step_seconds,
        effective_steps=float(spiking.spec.steps) if spiking.spec.form == "rate" else effective_steps(
            [len(spike_values(most, spiking.spec.accumulator)) for most in spiking.spec.levels_of_layers], widths[:-2]
        ),
        states=len(seen), equal_rounded=rounded, equal_actions=int((error == 0).all(1).sum()),
        max_action_error=float(error.max()),
        rms_action_error=float(error.square().mean().sqrt()), flipped_counts=flipped,
        hidden_counts=sum(count.numel() for count in counts),
        multiply_accumulates=float(sum(i * o for i, o in pairwise(widths))),
        synaptic_operations=added + analogue, analogue_operations=analogue, spikes=spikes,
        diverged_at=tuple(_first_difference(a, b) for a, b in zip(first, second, strict=True)),
        returns=tuple(_returns(name, [episode.total for episode in several]) for name, several in played.items()),
    )  # fmt: skip


def measure_kept(
    run: Run, before: Controller, policies: list[Controller], episodes: int, advance: Callable[[], None] = lambda: None
) -> tuple[Kept, ...]:
    """Return what each of the converted ``policies`` keeps of ``before``, in ``episodes`` paired episodes."""
    reference = np.array([episode.total for episode in play(run, before, "kept", episodes, advance)])
    pairs = generator(0, "certificate", "pairs").integers(episodes, size=(2000, episodes))
    kept = []
    for policy in policies:
        assert isinstance(policy.network, PascalNetwork)
        played = play(run, policy, "kept", episodes, advance)
        taken = np.concatenate([episode.actions for episode in played]).astype(np.float64)
        with torch.inference_mode():
            wanted = before(torch.as_tensor(np.concatenate([episode.observations for episode in played])))[0]
        errors = np.abs(taken - wanted.double().numpy())
        totals = np.array([episode.total for episode in played])
        drawn = totals[pairs].mean(1), reference[pairs].mean(1)
        share = None
        if drawn[1].min() > 0:
            low, high = np.quantile(drawn[0] / drawn[1], [0.025, 0.975])
            share = (float(totals.mean() / reference.mean()), float(low), float(high))
        spec = policy.network.spec
        kept.append(
            Kept(
                time_steps=spec.steps, levels=spec.levels_of_layers, episodes=episodes,
                largest_error=float(errors.max()), rms_error=float(np.sqrt(np.square(errors).mean())),
                returns=(float(reference.mean()), float(totals.mean())), share=share,
            )
        )  # fmt: skip
    return tuple(kept)


class Played:
    """An episode: observations [T, D], actions [T, K] or [T], rewards [T]."""

    def __init__(self, steps: list[Step]) -> None:
        self.observations = np.array([step.observation for step in steps], dtype=np.float32)
        self.actions = np.array([step.action for step in steps])
        self.rewards = np.array([step.reward for step in steps])
        self.total = float(self.rewards.sum())


def play(
    run: Run, policy: Controller, purpose: str, episodes: int, on_episode: Callable[[], None] = lambda: None
) -> list[Played]:
    """Play episodes of the run's environment one after another; their seeds depend on ``purpose`` only."""
    played: list[list[Step]] = [[] for _ in range(episodes)]
    rollout(
        lambda slots: Session(policy, slots),
        lambda: make_env(run.spec.env, run.spec.env_kwargs),
        [episode_seed(0, purpose, index) for index in range(episodes)],
        condition=Condition(name="clean"),
        num_envs=1,
        on_step=lambda step: played[step.episode].append(step),
        on_episode=lambda _: on_episode(),
    )
    return [Played(steps) for steps in played]


def _one_by_one(policy: Controller, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return actions and rates for many states, one by one: the last bit of a sum may depend on the batch."""
    actions, rates = [], []
    for row in torch.split(x, 1):
        action, state = policy(row)
        actions.append(action)
        rates.append(state.rates)
    return torch.cat(actions), [torch.cat(part) for part in zip(*rates, strict=True)]


def _levels(network: MLPNetwork, z: Tensor) -> list[Tensor]:
    levels: list[list[Tensor]] = [[] for _ in network.activations]
    hooks = [
        part.register_forward_pre_hook(
            lambda module, inputs, at=at: at.append(level_of(inputs[0], module.step(inputs[0]), module.levels))
        )
        for part, at in zip(network.activations, levels, strict=True)
    ]
    try:
        for row in torch.split(z, 1):
            network(row)
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(part) for part in levels]


def _first_difference(first: Played, second: Played) -> int | None:
    shared = min(len(first.rewards), len(second.rewards))
    same = (first.observations[:shared] == second.observations[:shared]).all(1)
    same &= (first.actions[:shared] == second.actions[:shared]).reshape(shared, -1).all(1)
    same &= first.rewards[:shared] == second.rewards[:shared]
    if not same.all():
        return int(np.flatnonzero(~same)[0])
    return None if len(first.rewards) == len(second.rewards) else shared


def _returns(what: str, totals: list[float]) -> Returns:
    values = np.array(totals)
    draws = generator(0, "certificate", "bootstrap").choice(values, (2000, len(values)))
    low, high = np.quantile(stats.trim_mean(draws, 0.25, axis=1), [0.025, 0.975])
    return Returns(what, float(stats.trim_mean(values, 0.25)), float(low), float(high))
