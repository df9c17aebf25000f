"""Fault models beside vectors of environments: what passes is what the wrappers of single environments give."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toy_envs  # noqa: F401  # registers the small environments
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from homeo_rl.degradations import EnvDegradation, build
from homeo_rl.degradations.adapters import FaultyTensorEnv, FaultyVectorEnv, make_fault_model
from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.errors import UsageError
from homeo_rl.training.faulty_vec_env import FaultyVecEnv

FAULTS: list[dict[str, Any]] = [
    {"kind": "obs-gaussian"}, {"kind": "obs-delayed", "steps": 3}, {"kind": "obs-markov"}, {"kind": "obs-spikes"},
    {"kind": "action-noise"}, {"kind": "action-delay", "steps": 2}, {"kind": "action-dead"},
]  # fmt: skip
SCHEDULE = Schedule(severity=0.7, onset=4)
N = 5


def damaged() -> gym.Env[Any, Any]:
    """Return an environment in the wrappers of today's suites."""
    env = gym.make("toy_envs:Point-v0")
    for fields in FAULTS:
        part = build(fields, where="test")
        assert isinstance(part, EnvDegradation)
        env = part.wrap(env, 0.7, 4)
    return env


def vector(make: Callable[[], gym.Env[Any, Any]], mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([make] * N, autoreset_mode=mode)


def healthy(mode: AutoresetMode = AutoresetMode.NEXT_STEP, name: str = "Point") -> SyncVectorEnv:
    return vector(lambda: gym.make(f"toy_envs:{name}-v0"), mode)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_batch_gives_the_bits_of_the_suites_wrappers(mode: AutoresetMode) -> None:
    """With the suites' streams, over the ends of episodes, final observations included."""
    inner = healthy(mode)
    expected, env = (
        vector(damaged, mode),
        FaultyVectorEnv(inner, make_fault_model(inner, FAULTS, schedule=SCHEDULE, streams="suite")),
    )
    rng, ends = np.random.default_rng(0), 0
    for seed in (3, 8):
        assert np.array_equal(expected.reset(seed=seed)[0], env.reset(seed=seed)[0])
        for _ in range(90):
            actions = rng.uniform(-1.0, 1.0, (N, 2)).astype(np.float32)
            one, other = expected.step(actions), env.step(actions)
            assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
            ends += int(one[3].sum())
            for i in np.flatnonzero(one[3]) if mode == AutoresetMode.SAME_STEP else ():
                assert np.array_equal(one[4]["final_obs"][i], other[4]["final_obs"][i])
    assert ends > 15


def test_environments_that_are_reset_by_mask() -> None:
    inner = healthy(AutoresetMode.DISABLED)
    model = make_fault_model(inner, [{"kind": "obs-offset", "size": 1.0}], schedule=Schedule(onset=2))
    env, plain = FaultyVectorEnv(inner, model), healthy(AutoresetMode.DISABLED)
    actions = np.zeros((N, 2), np.float32)
    env.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(3):
        seen, true = env.step(actions)[0], plain.step(actions)[0]
    assert (seen != true).all(), "the onset has come"
    mask = np.array([False, True, False, False, True])
    seen = env.reset(seed=None, options={"reset_mask": mask.copy()})[0]
    true = plain.reset(options={"reset_mask": mask.copy()})[0]
    assert np.array_equal(seen[mask], true[mask]), "not yet in the new episodes"
    assert (seen[~mask] != true[~mask]).all()


def test_both_arms_are_the_same_episode_up_to_the_onset() -> None:
    """The matched control: seeds of environments and rows are the same, and the fault is the only difference."""
    arms = []
    for control in (False, True):
        inner = healthy()
        model = make_fault_model(inner, [{"kind": "action-gain", "factor": -1.0}], schedule=Schedule(onset=6))
        env = FaultyVectorEnv(inner, model.twin() if control else model)
        env.reset(seed=2)
        arms.append([env.step(np.full((N, 2), 0.5, np.float32))[:2] for _ in range(10)])
    equal = [all(np.array_equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in zip(*arms, strict=True)]
    assert equal == [True] * 6 + [False] * 4


def test_discrete_actions_pass_a_delay_alone() -> None:
    inner = healthy(name="Choice")
    env = FaultyVectorEnv(inner, make_fault_model(inner, [{"kind": "action-delay", "steps": 1}]))
    env.reset(seed=0)
    executed = [env._execute(np.full(N, k)) for k in (2, 0, 1)]
    assert [each.tolist() for each in executed] == [[2] * N, [2] * N, [0] * N]


def test_stable_baselines_sees_the_same_as_gymnasium() -> None:
    """The terminal observation too."""
    inner = healthy(AutoresetMode.SAME_STEP)
    gymnasium = FaultyVectorEnv(inner, make_fault_model(inner, FAULTS, schedule=SCHEDULE))
    single = inner.single_observation_space, inner.single_action_space
    bounds = {"observation_bounds": (single[0].low, single[0].high), "action_bounds": (-1.0, 1.0)}
    env = FaultyVecEnv(
        DummyVecEnv([lambda: gym.make("toy_envs:Point-v0")] * N), FaultModel(FAULTS, N, schedule=SCHEDULE, **bounds)
    )
    env.seed(3)
    assert np.array_equal(env.reset(), gymnasium.reset(seed=3)[0])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(90):
        actions = rng.uniform(-1.0, 1.0, (N, 2)).astype(np.float32)
        seen, _, dones, infos = env.step(actions)
        expected, _, _, truncated, info = gymnasium.step(actions)
        assert np.array_equal(seen, expected)
        assert np.array_equal(dones, truncated)
        for i in np.flatnonzero(dones):
            ends += 1
            assert np.array_equal(infos[i]["terminal_observation"], info["final_obs"][i])
    assert ends > 10


class Tensors:
    """Points that are pushed towards the origin: the interface of rsl-rl and mjlab, on the CPU."""

    def __init__(self, num_envs: int = 32) -> None:
        self.num_envs, self.num_actions, self.device, self.cfg = num_envs, 2, "cpu", {}
        self.max_episode_length = 20
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.rng = torch.Generator().manual_seed(0)
        self.place = torch.rand(num_envs, 2, generator=self.rng) * 4 - 2

    def groups(self) -> dict[str, torch.Tensor]:
        time = self.episode_length_buf[:, None] / self.max_episode_length
        return {"policy": torch.cat([self.place, time], 1), "critic": self.place.clone()}

    def get_observations(self) -> Any:
        return self.groups()

    def step(self, actions: torch.Tensor) -> tuple[Any, ...]:
        self.place = self.place + 0.2 * actions.clamp(-1, 1)
        self.episode_length_buf += 1
        rewards = 1.0 - self.place.norm(dim=1)
        over = self.episode_length_buf >= self.max_episode_length
        fresh = torch.rand(self.num_envs, 2, generator=self.rng) * 4 - 2
        self.place = torch.where(over[:, None], fresh, self.place)
        self.episode_length_buf = torch.where(over, 0, self.episode_length_buf)
        return self.get_observations(), rewards, over, {"time_outs": over}


def test_tensors_of_one_group_are_damaged() -> None:
    """Episodes begin anew where they end; asking for observations takes no step; the rest is the environment's."""
    model = FaultModel([{"kind": "obs-offset", "size": 1.0}], 32, device="cpu", schedule=Schedule(onset=10))
    env = FaultyTensorEnv(Tensors(), model)
    assert env.num_actions == 2
    env.episode_length_buf = torch.arange(32) % 20
    for _ in range(3):
        first = env.get_observations()
    assert torch.equal(first["policy"], env.env.groups()["policy"])
    since = torch.zeros(32, dtype=torch.long)
    for _ in range(60):
        with torch.inference_mode():
            seen, _, over, extras = env.step(torch.zeros(32, 2))
        since = torch.where(over, 0, since + 1)
        true = env.env.groups()
        assert torch.equal((seen["policy"] != true["policy"]).all(1), since >= 10)
        assert torch.equal(seen["critic"], true["critic"])
        assert extras["time_outs"] is over
    assert copy.deepcopy(env).num_envs == 32


def test_rsl_rl_trains_fifty_iterations_under_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own runner on tensors with seven faults; the policy learns although it sees and acts badly."""
    runners = pytest.importorskip("rsl_rl.runners", reason="rsl-rl-lib is not installed")
    from tensordict import TensorDict

    class Grouped(Tensors):
        def get_observations(self) -> Any:
            return TensorDict(self.groups(), batch_size=[self.num_envs])

        def step(self, actions: torch.Tensor) -> tuple[Any, ...]:
            _, rewards, over, extras = super().step(actions)
            rewards_of.append(float(rewards.mean()))
            return self.get_observations(), rewards, over, extras

    rewards_of: list[float] = []
    torch.manual_seed(0)
    schedule = Schedule(severity=np.linspace(0.0, 1.0, 64), onset=5, duration=10, recovery=3)
    model = FaultModel(FAULTS, 64, seed=1, device="cpu", schedule=schedule, action_bounds=(-1.0, 1.0))
    network = {"class_name": "MLPModel", "hidden_dims": [32], "activation": "elu"}
    gaussian = {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.5}}
    settings = {
        "num_steps_per_env": 20, "save_interval": 1000, "logger": "tensorboard", "multi_gpu": None,
        "obs_groups": {"actor": ["policy"], "critic": ["critic"]}, "actor": {**network, **gaussian}, "critic": network,
        "algorithm": {"class_name": "PPO", "num_learning_epochs": 2, "num_mini_batches": 2},
    }  # fmt: skip
    runner = runners.OnPolicyRunner(FaultyTensorEnv(Grouped(64), model), settings, log_dir=None, device="cpu")
    runner.learn(50)
    capsys.readouterr()
    assert len(rewards_of) == 50 * 20
    assert np.mean(rewards_of[-200:]) > np.mean(rewards_of[:200]) + 0.2
    assert all(bool(torch.isfinite(value).all()) for value in runner.alg.get_policy().state_dict().values())


def test_vectors_are_needed() -> None:
    grid = SyncVectorEnv([lambda: gym.wrappers.ReshapeObservation(gym.make("toy_envs:Point-v0"), (1, 3))])
    with pytest.raises(UsageError, match="observations: expected a one-dimensional Box"):
        make_fault_model(grid, [{"kind": "obs-gaussian"}])


def test_joints_and_bounds_are_those_of_the_environment() -> None:
    model = make_fault_model(gym.make_vec("HalfCheetah-v5", 2), [{"kind": "velocity"}])
    assert model.describe()["joints"] == {"qpos": list(range(8)), "qvel": list(range(8, 17))}
    assert model.describe()["action_bounds"] == [[-1.0] * 6, [1.0] * 6]
