"""Where Stable-Baselines3 keeps an actor, found by the names of a policy's tensors alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.storage.files import printable
from homeo_rl.storage.torch_pickle import Entry

_HIDDEN = {"ppo": "mlp_extractor.policy_net", "sac": "actor.latent_pi", "td3": "actor.mu"}
"""Where MlpPolicy keeps its actor's hidden layers, TD3's output layer with them; A2C is as PPO, DDPG as TD3."""

_HEAD = {"ppo": ["action_net"], "sac": ["actor.mu"], "td3": []}

_NOT_ACTING = (
    "log_std", "actor.log_std.", "value_net.", "mlp_extractor.value_net.", "critic.", "critic_target.", "actor_target.",
)  # fmt: skip
"""Tensors that deterministic actions do not need; any other that is not the actor's is a part that we do not have."""

_OURS = {
    "action_net.network.": "features_extractor.normaliser.",
    "lstm_actor.network.": "features_extractor.normaliser.",
    "actor.mu.network.": "actor.features_extractor.normaliser.",
}
"""Where policies of `homeo_rl.agents.sb3.policies`, `recurrent` and `recurrent_replay` keep network and normaliser."""

_WHOLE = "an actor of MlpPolicy that PPO, A2C, SAC, TD3 or DDPG trained, or of a run of ours"


@dataclass(frozen=True)
class Actor:
    """What the names of a zip's tensors say: which family of algorithms, and where each of our tensors lies."""

    algo: str
    ours: bool
    names: dict[str, str]


def find_actor(entries: Mapping[str, Entry], path: Path) -> Actor:
    """Find the actor among the tensors of a zip.

    Raises UsageError: there is none, or it has parts that are not layers of an MLP.
    """
    for network, normaliser in _OURS.items():
        if any(name.startswith(network) for name in entries):
            parts = {"network.": network, "normaliser.": normaliser}
            tensors = {
                ours + name.removeprefix(theirs): name
                for ours, theirs in parts.items()
                for name in entries
                if name.startswith(theirs)
            }
            sac = any(name.startswith("actor.log_std.") for name in entries)
            on_policy = {"action_net": "ppo", "lstm_actor": "recurrent_ppo"}.get(network.partition(".")[0])
            recurrent = "recurrent_" * ("actor.mu.window" in entries)
            return Actor(on_policy or recurrent + ("sac" if sac else "td3"), True, tensors)
    algo = "ppo" if "action_net.weight" in entries else "sac" if "actor.mu.weight" in entries else "td3"
    count = sum(f"{_HIDDEN[algo]}.{2 * index}.weight" in entries for index in range(len(entries)))
    layers = [f"{_HIDDEN[algo]}.{2 * index}" for index in range(count)] + _HEAD[algo]
    tensors = {
        f"network.layers.{index}.{part}": f"{layer}.{part}"
        for index, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
    exploring = [name for name in ("log_std", "actor.log_std") if name in entries and len(entries[name].shape) != 1]
    if exploring:
        raise UsageError(f"{path}: {exploring[0]}: a policy with state-dependent exploration (gSDE) is not read")
    acting = set(tensors.values())
    missing = sorted(acting - set(entries))
    more = [name for name in entries if name not in acting and not name.startswith(_NOT_ACTING)]
    if not layers or missing:
        some = printable(", ".join(sorted(entries)[:3])) or "nothing"
        raise UsageError(f"{path}: expected {_WHOLE}, found {f'no {missing[0]}' if missing else some}")
    if more:
        raise UsageError(
            f"{path}: expected {_WHOLE}, found {printable(more[0])} beside it: features extractors, normalisation "
            "layers and other parts of an actor are not read"
        )
    return Actor(algo, False, tensors)
