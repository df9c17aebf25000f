"""A training as a file: what `homeo-rl tune` found best, and what `homeo-rl train --preset` takes.

algo: ppo
env: InvertedPendulum-v5
agent: popsan
n_timesteps: 100000
hyperparams: &best {learning_rate: lin_0.0012, n_steps: 256}
InvertedPendulum-v5: *best      # optional: the same again, which makes the file one for -conf
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import yaml

from homeo_rl.errors import UsageError
from homeo_rl.spec import parse
from homeo_rl.storage.files import printable
from homeo_rl.storage.yaml_file import read_yaml


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Preset:
    """A training without its seed and place; the fields are flags of ``homeo-rl train``.

    How often a training is evaluated belongs to it where it is given: encoders that draw spikes draw in evaluations
    too.
    """

    algo: str
    env: str
    agent: str
    n_timesteps: int | None = None
    hyperparams: dict[str, Any] = field(default_factory=dict)
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    gym_packages: tuple[str, ...] = ()
    homeostasis_in_training: str = "none"
    randomise: str = "none"
    eval_freq: int = 10_000
    eval_episodes: int = 5

    @property
    def flags(self) -> dict[str, Any]:
        """Fields that are flags of the same form; the others are merged, name by name."""
        merged = ("hyperparams", "env_kwargs")
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self) if entry.name not in merged}


def read_preset(path: Path) -> Preset:
    """Read a preset. Raises UsageError: naming the file, the field and what was expected there."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        names = ", ".join(entry.name for entry in dataclasses.fields(Preset))
        raise UsageError(f"{path}: expected a preset ({names}), got {printable(repr(document.data), 60)}")
    data = dict(document.data)
    env = data.get("env")
    if isinstance(env, str) and env in data and data.pop(env) != data.get("hyperparams"):
        raise UsageError(f"{document.where((env,))}: expected the same as hyperparams, got others; correct one")
    return parse(Preset, data, where=str(path))


class _Dumper(yaml.SafeDumper):
    """Names the section that is there twice."""

    def generate_anchor(self, node: yaml.Node) -> str:
        return "hyperparams"


def text_of(preset: Preset, comments: Sequence[str]) -> str:
    """Return a preset as YAML that `read_preset` and ``-conf`` read."""
    data: dict[str, Any] = {
        entry.name: getattr(preset, entry.name)
        for entry in dataclasses.fields(preset)
        if entry.name not in ("randomise", "eval_freq", "eval_episodes") or getattr(preset, entry.name) != entry.default
    }
    data["gym_packages"] = list(preset.gym_packages)
    data[preset.env] = data["hyperparams"] = _plain(preset.hyperparams)
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)
    return "".join(f"# {line}\n" for line in comments) + body


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
