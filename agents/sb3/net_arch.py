"""What Stable-Baselines3's ``net_arch`` says about an actor and a critic; nothing here loads torch."""

import warnings
from collections.abc import Mapping
from typing import Any

from homeo_rl.errors import UsageError

Widths = list[int] | None


def split_net_arch(arch: Any, *, shared: bool, where: str) -> tuple[Widths, Widths]:
    """Return the hidden widths of actor and critic; None where nothing is said.

    Args:
        arch: a list of widths, or ``{pi: [...], vf: [...]}`` (``qf`` off-policy).
        shared: whether a list is meant for both, as SB3's own policies mean it, or for the critic alone.

    Raises UsageError: it is neither.
    """
    if arch is None:
        return None, None
    if isinstance(arch, list) and len(arch) == 1 and isinstance(arch[0], Mapping):
        warnings.warn("net_arch=[dict(...)] is SB3's old form; write net_arch=dict(...)", UserWarning, stacklevel=2)
        arch = arch[0]
    parts = arch if shared else None, arch
    if isinstance(arch, Mapping) and set(arch) <= {"pi", "vf", "qf"} and not {"vf", "qf"} <= set(arch):
        parts = arch.get("pi"), arch.get("vf", arch.get("qf"))
    for part in parts:
        if part is not None and (not isinstance(part, list | tuple) or any(type(width) is not int for width in part)):
            raise UsageError(f"{where}: net_arch: expected widths [64, 64] or {{pi: [...], vf: [...]}}, got {arch!r}")
    actor, critic = (None if part is None else list(part) for part in parts)
    return actor, critic


def resolve_widths(agent_kwargs: dict[str, Any] | None, net_arch: Any) -> tuple[dict[str, Any] | None, Widths]:
    """Return the fields of the actor's network, its widths among them, and the critic's widths.

    Raises UsageError: ``net_arch`` has another form.
    """
    actor, critic = split_net_arch(net_arch, shared=False, where="policy_kwargs")
    return agent_kwargs if actor is None else {"hidden": actor, **(agent_kwargs or {})}, critic
