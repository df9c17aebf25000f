"""Agents: deployable controllers, sessions that run them, and the Stable-Baselines3 policies that train them.

Names are imported where they are asked for: the policies load Stable-Baselines3, which evaluation does not need.
"""

from typing import TYPE_CHECKING

from homeo_rl.imports.lazy import import_on_use

if TYPE_CHECKING:
    from homeo_rl.agents.controller import Controller, load_controller, save_controller
    from homeo_rl.agents.presets import PRESETS, controller_spec
    from homeo_rl.agents.sb3.batch_norm import BatchNormTD3, SpikingBatchNormTD3Policy
    from homeo_rl.agents.sb3.contrib import SpikingCrossQPolicy, SpikingTQCPolicy
    from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
    from homeo_rl.agents.sb3.proxy_target import ProxyTD3, SpikingProxyTD3Policy
    from homeo_rl.agents.sb3.recurrent import SpikingRecurrentPolicy
    from homeo_rl.agents.sb3.recurrent_replay import (
        RecurrentSAC,
        RecurrentTD3,
        SpikingRecurrentSACPolicy,
        SpikingRecurrentTD3Policy,
    )
    from homeo_rl.agents.session import Session

_HOME = {
    "controller": "Controller load_controller save_controller",
    "presets": "PRESETS controller_spec",
    "sb3.batch_norm": "BatchNormTD3 SpikingBatchNormTD3Policy",
    "sb3.contrib": "SpikingCrossQPolicy SpikingTQCPolicy",
    "sb3.policies": "SpikingActorCriticPolicy SpikingSACPolicy SpikingTD3Policy",
    "sb3.proxy_target": "ProxyTD3 SpikingProxyTD3Policy",
    "sb3.recurrent": "SpikingRecurrentPolicy",
    "sb3.recurrent_replay": "RecurrentSAC SpikingRecurrentSACPolicy RecurrentTD3 SpikingRecurrentTD3Policy",
    "session": "Session",
}

__all__ = [
    "PRESETS",
    "BatchNormTD3",
    "Controller",
    "ProxyTD3",
    "RecurrentSAC",
    "RecurrentTD3",
    "Session",
    "SpikingActorCriticPolicy",
    "SpikingBatchNormTD3Policy",
    "SpikingCrossQPolicy",
    "SpikingProxyTD3Policy",
    "SpikingRecurrentPolicy",
    "SpikingRecurrentSACPolicy",
    "SpikingRecurrentTD3Policy",
    "SpikingSACPolicy",
    "SpikingTD3Policy",
    "SpikingTQCPolicy",
    "controller_spec",
    "load_controller",
    "save_controller",
]


if not TYPE_CHECKING:
    __getattr__ = import_on_use(__name__, _HOME)
