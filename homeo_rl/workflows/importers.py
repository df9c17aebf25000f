"""The kinds of published policies that are imported: a kind is a row of `IMPORTERS`.

The counterpart of `homeo_rl.workflows.exporters.EXPORTERS`. What a kind needs is imported when a file is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium as gym

    from homeo_rl.agents.controller import Controller


@dataclass(frozen=True)
class Importer:
    """How a kind of published policy is read."""

    function: str  # "module:name" of what reads it; takes the file, the environment, and the options as keywords
    # arguments that the environment needs; those of a user come first
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    # what a user may say of the file: "agent", "overrides" and "normalize_from" of the architecture that its weights
    # are for, "reading" of a graph
    options: tuple[str, ...] = ()
    suite: str = "paper-mujoco"  # where such a policy is tried first
    note: str = ""
    suffixes: tuple[str, ...] = ()  # of files that are taken for this kind, where a policy is given in place of a run

    def read(self, path: Path, env: gym.Env[Any, Any], **options: Any) -> Controller:
        """Return the policy of a file.

        Raises UsageError: the file is missing or malformed, or does not fit the environment.
        """
        module, _, name = self.function.partition(":")
        controller: Controller = getattr(import_module(module), name)(path, env, **options)
        return controller


IMPORTERS: dict[str, Importer] = {
    "popsan": Importer("homeo_rl.agents.importers:import_popsan"),
    "san": Importer("homeo_rl.agents.importers:import_san", {"spike_coded": True}),
    "nir": Importer("homeo_rl.exchange.nir_import:import_nir", options=("reading",), suite="quick", suffixes=(".nir",)),
    "sb3-zip": Importer(
        "homeo_rl.agents.sb3.zip:import_sb3_zip",
        options=("agent", "overrides", "normalize_from"),
        suite="quick",
        suffixes=(".zip",),
        note="observations go in as the environment gives them; if the policy was trained behind a VecNormalize, give "
        "its statistics: --normalize-from vecnormalize.pkl, or the same as .npz or .safetensors",
    ),
    "onnx": Importer("homeo_rl.agents.import_external:import_onnx", suite="quick", suffixes=(".onnx",)),
    "safetensors": Importer(
        "homeo_rl.agents.safetensors_mlp:import_safetensors", suite="quick", suffixes=(".safetensors",)
    ),
    "function": Importer("homeo_rl.agents.import_external:import_function", suite="quick"),
}
"""Kinds of published policies that `homeo-rl import` knows."""
