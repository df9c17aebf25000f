"""What happens beside the learning: normaliser, spike logs, best policy, progress."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from homeo_rl.agents.controller import save_controller
from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.envs.stability import KEY, StabilityGuard
from homeo_rl.envs.time_limit import KEY as LIMIT_TAKEN
from homeo_rl.envs.time_limit import tell as tell_limit
from homeo_rl.numerics.energy import joules
from homeo_rl.run import Run
from homeo_rl.seeding import derive
from homeo_rl.snn.network import SpikingNetwork


class PeriodicCallback(BaseCallback):
    """Base of what is due once in ``every`` environment steps."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self._next = 0

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return when it is due again."""
        return {"next": self._next}, {}

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self._next = document["next"]

    def is_due(self) -> bool:
        """Whether it is due now; if so, it is due again in ``every`` steps."""
        due = self.num_timesteps >= self._next
        if due:
            self._next = self.num_timesteps + self.every
        return due


class NormaliserCallback(BaseCallback):
    """Move the normaliser's statistics between rollouts, never during one.

    PPO's stored log-probabilities were computed with the statistics of the rollout, and its gradient passes must see
    the same ones. For off-policy algorithms a rollout is a step or a few.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[np.ndarray] = []

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the observations that the statistics have not seen yet."""
        return {}, {"seen": np.concatenate(self._seen)} if self._seen else {}

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self._seen = [arrays["seen"].copy()] if "seen" in arrays else []

    def _on_training_start(self) -> None:
        # The first observations of all environments: without them the first rollout would not be normalised at all.
        last = self.model._last_obs
        assert isinstance(last, np.ndarray)
        if float(policy_of(self.model).normaliser().running_count) == 0 and len(last) > 1:
            self._seen.append(last.copy())

    def _on_step(self) -> bool:
        self._seen.append(np.array(self.locals["new_obs"]))
        return True

    def _on_rollout_start(self) -> None:
        if self._seen:
            batch = torch.as_tensor(np.concatenate(self._seen))
            policy_of(self.model).observe(batch)
            self._seen = []


class RandomiseCallback(BaseCallback):
    """Tell randomised environments before each rollout how much the normaliser has seen each sensor deviate."""

    def _on_rollout_start(self) -> None:
        normaliser = policy_of(self.model).normaliser()
        if normaliser.active:
            std = torch.sqrt(normaliser.running_var).cpu().numpy()
            self.training_env.env_method("set_observation_std", std)

    def _on_step(self) -> bool:
        return True


class SpikeCallback(PeriodicCallback):
    """Log ``snn/*``, and ``homeo/*`` where a plug-in adapts in training.

    Rates are those of the last observations, once every ``every`` environment steps.
    """

    def _on_step(self) -> bool:
        online = policy_of(self.model).head().online
        if online is not None:
            online.end(torch.as_tensor(np.array(self.locals["dones"], dtype=bool)))
        if self.is_due():
            self._log_rates()
        return True

    def _on_rollout_end(self) -> None:
        model = self.model
        if isinstance(model, OnPolicyAlgorithm) and policy_of(self.model).head().online is not None:
            buffer = model.rollout_buffer
            with torch.no_grad():
                flat = torch.as_tensor(buffer.observations).flatten(0, 1)
                actions = torch.as_tensor(buffer.actions).flatten(0, 1)
                discrete = not hasattr(model.action_space, "low")
                log_prob = model.policy.evaluate_actions(
                    flat.to(model.device), (actions.long().flatten() if discrete else actions).to(model.device)
                )[1]
                gap = (torch.exp(log_prob.cpu() - torch.as_tensor(buffer.log_probs).flatten()) - 1.0).abs().mean()
            self.logger.record("homeo/ratio_gap", float(gap))

    def _log_rates(self) -> None:
        policy = policy_of(self.model)
        network = policy.head().network
        if not isinstance(network, SpikingNetwork):
            return
        with torch.no_grad():
            observations = torch.as_tensor(np.array(self.locals["new_obs"]), dtype=torch.float32).to(self.model.device)
            _, state = network(policy.normaliser()(observations))
        for index, rate in enumerate(state.rates[1:]):
            self.logger.record(f"snn/rate/{index}", float(rate.mean()))
            spikes, additions, products = (float(count.mean()) for count in network.operations(state.rates))
        self.logger.record("snn/spikes", spikes)
        self.logger.record("snn/synops", additions + products)
        self.logger.record("snn/energy_nJ", 1e9 * joules(additions, products))
        online = policy.head().online
        if online is not None:
            for name, values in (
                ("drift", online.drift()),
                ("theta", online.sliding_thresholds()),
                ("rate_error", online.rate_errors()),
            ):
                for index, value in enumerate(values):
                    self.logger.record(f"homeo/{name}/{index}", value)


class EvaluationCallback(EvalCallback):
    """SB3's evaluation during training, which also keeps the best policy as a bundle of ours.

    Each evaluation's episodes depend on ``seed`` and on when it takes place, not on the evaluations before it.
    """

    def __init__(self, run: Run, *args: Any, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run, self._seed = run, seed
        self._saved = -np.inf

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return all evaluations so far."""
        best = {name: getattr(self, name) for name in _BEST}
        finite = {name: float(value) if np.isfinite(value) else None for name, value in best.items()}
        lists = {name: [np.asarray(entry).tolist() for entry in getattr(self, name)] for name in _EVALUATIONS}
        return {**finite, **lists}, {}

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        for name in _BEST:
            setattr(self, name, -np.inf if document[name] is None else document[name])
        for name in _EVALUATIONS:
            setattr(self, name, document[name])

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        super()._log_success_callback(locals_, globals_)
        if LIMIT_TAKEN in locals_["info"]:
            tell_limit(self._run.spec.env)

    def _on_step(self) -> bool:
        if self.eval_freq > 0 and self.n_calls % self.eval_freq == 0:
            self.eval_env.seed(derive(self._seed, "evaluation during training", self.n_calls) % 2**31)
        proceed = super()._on_step()
        if self.best_mean_reward > self._saved:
            self._saved = float(self.best_mean_reward)
            save_controller(self._run, policy_of(self.model).controller(), which="best")
        return proceed


_BEST = ("best_mean_reward", "last_mean_reward", "_saved")
_EVALUATIONS = ("evaluations_results", "evaluations_timesteps", "evaluations_length", "evaluations_successes")


class ReportCallback(PeriodicCallback):
    """Report how far training is: steps done and mean return of the last episodes."""

    def __init__(self, report: Callable[[int, float | None], None], every: int = 200) -> None:
        super().__init__(every)
        self._report = report

    def _on_step(self) -> bool:
        if self.is_due():
            recent = [episode["r"] for episode in self.model.ep_info_buffer or ()]
            self._report(self.num_timesteps, float(np.mean(recent)) if recent else None)
        return True


class IncidentCallback(BaseCallback):
    """Log ``env/unstable``, episodes whose simulation MuJoCo gave up, where there is a simulation; and
    ``homeo/rolled_back``, adaptations that were started again, where a plug-in adapts in training.

    Both are totals since the training began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unstable = 0
        self._watched = False

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a resumed training has to know."""
        return {"unstable": self.unstable}, {}

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self.unstable = document["unstable"]

    def _on_training_start(self) -> None:
        self._watched = any(self.training_env.env_is_wrapped(StabilityGuard))

    def _on_step(self) -> bool:
        if self._watched:
            self.unstable += sum(KEY in info for info in self.locals["infos"])
            self.logger.record("env/unstable", self.unstable)
        online = policy_of(self.model).head().online
        if online is not None:
            self.logger.record("homeo/rolled_back", online.rolled_back)
        return True
