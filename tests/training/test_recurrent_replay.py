"""TD3 and SAC with membranes that pass from decision to decision: windows of the replay ring, policies, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.vec_env import DummyVecEnv
from trainings import plan

from homeo_rl.agents import RecurrentSAC, RecurrentTD3, SpikingRecurrentSACPolicy, SpikingRecurrentTD3Policy
from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.sb3.recurrent_replay import WindowHead, WindowReplayBuffer
from homeo_rl.cli import main
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.run import Run
from homeo_rl.training.train import train

KINDS: dict[str, Any] = {
    "recurrent_td3": (RecurrentTD3, SpikingRecurrentTD3Policy),
    "recurrent_sac": (RecurrentSAC, SpikingRecurrentSACPolicy),
}
OBSERVATIONS, ACTIONS = Box(-1e6, 1e6, (2,)), Box(-1, 1, (1,))
AGENT = {"agent": "popsan", "agent_kwargs": {"hidden": [8, 8], "steps": 3}, "net_arch": [16]}


def model(algo: str, env: str = "Pendulum-v1", **kwargs: Any) -> Any:
    kind, policy = KINDS[algo]
    envs = DummyVecEnv([lambda: make_env(env, {})] * 2)
    return kind(
        policy, envs, seed=0, device="cpu", learning_starts=20, batch_size=16, buffer_size=200,
        policy_kwargs={**AGENT, **kwargs},
    )  # fmt: skip


@pytest.mark.parametrize("count", [30, 100])
def test_windows_are_what_came_before_in_the_episode(count: int) -> None:
    """Of a ring that is partly filled, and of one that has gone round; observations name environment and step."""
    ring = WindowReplayBuffer(64, OBSERVATIONS, ACTIONS, n_envs=2)
    ring.window = 5
    rng = np.random.default_rng(0)
    starts = np.zeros(2, dtype=int)
    began = np.zeros((count, 2), dtype=int)
    for step in range(count):
        began[step] = starts
        dones = rng.random(2) < 0.2
        seen = np.array([[env, step] for env in range(2)], dtype=np.float32)
        infos = [{"TimeLimit.truncated": bool(step % 2)}] * 2
        ring.add(seen, seen + np.array([0, 0.5]), np.full((2, 1), step / 100), np.full(2, step), dones, infos)
        starts[dones] = step + 1
    batch = ring.sample(400)
    lengths = set()
    for window, after, reward in zip(
        batch.observations.numpy(), batch.next_observations.numpy(), batch.rewards.numpy(), strict=True
    ):
        env, newest = window[0, :2].astype(int)
        oldest = max(began[newest, env], count - 32, newest - 4)  # SB3 shares the ring's slots among environments
        rows = [[env, step, 1] for step in range(newest, oldest - 1, -1)]
        lengths.add(len(rows))
        assert window.tolist() == rows + [[0, 0, 0]] * (5 - len(rows))
        assert after.tolist() == [[env, newest + 0.5, 1], *window[:-1].tolist()]
        assert reward == newest
    assert lengths == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("algo", KINDS)
def test_an_update_decides_as_the_rollout_did(algo: str) -> None:
    """A window that reaches back to its episode's begin gives the decision that membranes carried there."""
    made = model(algo, window=6)
    head, inputs = made.policy.head(), 3
    assert isinstance(head, WindowHead)
    torch.manual_seed(0)
    x = torch.randn(2, 6, inputs)
    state, starts = head.resting(2)
    for length in range(1, 7):
        head.before = (state, starts)
        with torch.no_grad():
            expected = head(x[:, length - 1])
        state, starts = head.after, torch.zeros(2)
        rows = torch.zeros(2, 6, inputs + 1)
        rows[:, :length, :inputs] = x[:, :length].flip(1)
        rows[:, :length, inputs] = 1
        rows.requires_grad_()
        found = head(rows.flatten(1))
        assert torch.allclose(found, expected, atol=1e-5)
        (grad,) = torch.autograd.grad(found.sum(), rows)
        assert not grad[:, length:].any()
    assert grad[:, 5, :inputs].any()  # the oldest decision counts


@pytest.mark.parametrize("algo", KINDS)
def test_rollouts_carry_membranes(algo: str) -> None:
    """States are at rest until the first decision of the actor, pass on, and start anew with an episode."""
    made = model(algo)
    made.learn(20)
    assert not made._last_lstm_states[0][0].any()
    assert made._last_episode_starts.all()
    made.learn(60, reset_num_timesteps=False)
    state = made._last_lstm_states[0][0].numpy().copy()
    assert state.any()
    observation = made._last_obs
    alone, _ = made.policy.predict(observation, deterministic=True)
    carried, (after,) = made.policy.predict(observation, (state,), np.zeros(2), deterministic=True)
    anew, (fresh,) = made.policy.predict(observation, (state,), np.ones(2), deterministic=True)
    assert np.array_equal(alone, anew)
    assert not np.array_equal(after, fresh)
    assert carried.shape == anew.shape == (2, 1)


def test_an_update_without_our_steps_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """SB3's own gradient steps see the same windows: losses agree."""
    losses = []
    for covered in (True, False):
        made = model("recurrent_td3")
        if not covered:
            monkeypatch.setattr("homeo_rl.agents.sb3.algorithms.covers", lambda _: False)
        made.learn(60)
        losses.append(made.logger.name_to_value["train/critic_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("algo", KINDS)
def test_a_zip_names_its_algorithm(algo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's zip loads where its text says, and comes back as a run that decides alike, state included."""
    fields = {"hyperparams": {"agent_kwargs": {"hidden": [8, 8], "steps": 3}, "window": 4}}
    run = train(replace(plan(algo, "Pendulum-v1", "popsan", steps=128, **fields), out=tmp_path / "run"))
    main(["export", str(run.path), "--to", "sb3-zip", "--out", str(tmp_path / "policy.zip")])
    assert KINDS[algo][0].__name__ in capsys.readouterr().out
    loaded = KINDS[algo][0].load(tmp_path / "policy.zip")
    assert loaded.policy.window == 4
    main([
        "import", "sb3-zip", str(tmp_path / "policy.zip"), "--env", "Pendulum-v1", "--agent", "popsan",
        "--agent-kwargs", "steps:3", "--out", str(tmp_path / "again"),
    ])  # fmt: skip
    ours, again = load_controller(run), load_controller(Run.open(tmp_path / "again"))
    assert again.spec == ours.spec
    assert again.spec.network.membrane == "episode"
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ours.state_dict().items())


def test_what_it_cannot_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["train", "--algo", "recurrent_td3", "--env", "Pendulum-v1", "-n", "64", "--out", str(tmp_path / "run")]
    for arguments, reason in (
        (["--agent", "mlp"], "membranes live for an episode"),
        (["--homeostasis-in-training", "dwam-paper"], "no --homeostasis-in-training"),
        (["-params", "window:0"], "hyper-parameter window: expected at least 1"),
    ):
        with pytest.raises(SystemExit) as leaving:
            main([*line, *arguments])
        assert leaving.value.code == 2
        assert reason in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="use_sde"):
        SpikingRecurrentSACPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, use_sde=True)
    with pytest.raises(UsageError, match="window"):
        model("recurrent_td3", window=0)
    ring = WindowReplayBuffer(8, OBSERVATIONS, ACTIONS, optimize_memory_usage=True, handle_timeout_termination=False)
    ring.pos = 1
    with pytest.raises(UsageError, match="optimize_memory_usage"):
        ring.sample(1)
