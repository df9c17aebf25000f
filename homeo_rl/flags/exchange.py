"""Flags of the command that writes runs for other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeo_rl.flags.common import Common, Flag, Positional


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Write the policy of a run, or a compiled network, as a file for other tools (docs/exchange.md)."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    to: str
    """nir (spiking networks, also compiled ones), onnx (the whole decision), sb3-zip (as train leaves beside a run) or
    safetensors (everything in one file)."""
    out: Path
    """The file; an earlier one is replaced."""
    best: Flag = False
    """Export the best policy seen in training instead of the last one."""
    flavour: str = "standard"
    """Which reader of NIR it is for: standard, snntorch, spikingjelly or norse."""
    dt: float | None = None
    """Seconds that NIR takes a spike step for; by default the reader's own (1e-4, norse 1e-3)."""
    decay: str = "euler"
    """How a reader of NIR gets from time constants to decays: euler (1 - dt / tau) or exponential."""
    spikes: Flag = False
    """Give an ONNX model the spikes of every layer as outputs."""
