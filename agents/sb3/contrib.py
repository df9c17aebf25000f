"""TQC and CrossQ of sb3-contrib with a spiking actor; gradient steps and critics are theirs.

The actor is SAC's: a spiking mean, an MLP for the log standard deviation, and no batch normalisation, as actors are
deployed. Other extras of the two algorithms are arguments as they are there.
"""

from typing import Any

from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from homeo_rl.agents.sb3.policies import OffPolicyMixin, SpikingSACActor


class SpikingTQCPolicy(OffPolicyMixin, TQCPolicy):
    """For TQC. ``net_arch`` are the hidden widths of the critics and of the log standard deviation's MLP.

    Raises:
        UsageError: unknown preset or field, or unsuited spaces.
    """

    algo = "tqc"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingSACActor:  # type: ignore[override]
        """Build the actor."""
        kwargs = self._actor_arguments(features_extractor)
        return SpikingSACActor(log_std_arch=self.critic_arch, **kwargs).to(self.device)


class CrossQActor(SpikingSACActor):
    """SAC's actor under the interface of CrossQ's, without its batch normalisation."""

    def set_bn_training_mode(self, mode: bool) -> None:
        """Do nothing: there is none."""


class SpikingCrossQPolicy(OffPolicyMixin, CrossQPolicy):
    """For CrossQ. ``net_arch`` as of TQC; its authors' critics are wider (1024 units and more).

    Raises:
        UsageError: unknown preset or field, or unsuited spaces.
    """

    algo = "crossq"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "optimizer_class" not in kwargs:
            kwargs.setdefault("optimizer_kwargs", {"betas": (0.5, 0.999)})  # as CrossQPolicy does for Adam
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> CrossQActor:  # type: ignore[override]
        """Build the actor."""
        kwargs = self._actor_arguments(features_extractor)
        kept = {name: value for name, value in kwargs.items() if name not in self.batch_norm_params}
        return CrossQActor(log_std_arch=self.critic_arch, **kept).to(self.device)
