"""The weights that a training begins with in place of drawn ones: those of a run, or of a zip that a training left."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run, slug
from homeo_rl.storage import files, zip_archive

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


def source_of(path: Path) -> str:
    """Return a name for the weights at ``path`` that others do not have: the file's, and the beginning of its SHA-256.

    Raises UsageError: there are none.
    """
    zipped = _zip_of(path)
    if zipped is None:
        return f"{path.name} {Run.open(path).policy_digest()[:12]}"
    try:
        with files.open_regular(zipped, zip_archive.MAX_ARCHIVE) as file:
            return f"{zipped.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
    except StorageFault as fault:
        raise UsageError(f"-i: {fault}") from None


def begin_with(policy: nn.Module, path: Path, note: Callable[[str], None]) -> None:
    """Give a policy the weights at ``path``; its optimisers stay new.

    A run that was imported or converted has an actor alone: the critic stays new then.

    Raises UsageError: they are of another architecture, or damaged.
    """
    import torch

    expected = policy.state_dict()
    weights, has_critic = _weights(path)
    for name, value in expected.items():
        shape = weights[name].shape if name in weights else None
        if shape != tuple(value.shape):
            there = "none" if shape is None else f"{list(shape)}"
            raise UsageError(
                f"-i {path}: expected weights of the same --algo, --agent and -params, but {name} is "
                f"{list(value.shape)} here and {there} there; give what that run was trained with"
            )
    policy.load_state_dict({name: torch.as_tensor(weights[name]) for name in expected})
    note(
        f"beginning with the weights of {path}" + ("" if has_critic else "; its critic is not stored, a new one learns")
    )


def _weights(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], bool]:
    from homeo_rl.agents.controller import load_controller
    from homeo_rl.agents.sb3.zip import read_policy
    from homeo_rl.training.rl_zoo.sb3_zip import zip_of

    zipped = _zip_of(path)
    if zipped is not None:
        return read_policy(zipped), True
    run = Run.open(path)
    blob, _ = zip_of(load_controller(run), run.spec)
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(blob)
        file.flush()
        return read_policy(Path(file.name)), False


def _zip_of(path: Path) -> Path | None:
    """Return the zip itself, that of a run, or None for a run without one."""
    if path.suffix == ".zip":
        if not path.is_file():
            raise UsageError(f"-i {path}: expected a run or a zip that a training left, found none; check the path")
        return path
    run = Run.open(path)
    zipped = run.path / f"{slug(run.spec.env)}.zip"
    return zipped if zipped.is_file() else None
