"""The formats that a policy, or a compiled network, is exported to: a format is a row of `EXPORTERS`.

The counterpart of `homeo_rl.workflows.importers.IMPORTERS`. What a format needs is imported when something is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from homeo_rl.errors import UsageError
from homeo_rl.exchange.dialects import resolve_dialect
from homeo_rl.exchange.exported_file import ExportedFile, ExportedFolder

if TYPE_CHECKING:
    from homeo_rl.agents.controller import Controller
    from homeo_rl.run import Run


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is asked for beside the format; each format takes some of it (`Exporter.options`)."""

    dialect: str = "standard"
    dt: float | None = None
    decay: str = "euler"
    spikes: bool = False
    homeostasis: str = "none"
    number: Literal["float32", "int"] = "float32"
    which: str = "policy"


@dataclass(frozen=True)
class Exporter:
    """How a format is written, and what it leaves out."""

    # takes the policy, its run and the options
    write: Callable[[Controller, Run, ExportOptions], ExportedFile | ExportedFolder]
    options: tuple[str, ...] = ()
    # takes the run of a compiled network and the options; None where the format has no such networks
    compiled: Callable[[Run, ExportOptions], ExportedFile] | None = None
    # raises a `UsageError` for options that do not go together, before anything heavy is loaded
    check: Callable[[ExportOptions], Any] = lambda options: None
    folder: bool = False  # whether it is a folder of files
    leaves_out: str = ""  # of a policy; it is printed after every export of one


def _dialect(options: ExportOptions) -> Any:
    return resolve_dialect(options.dialect, options.dt, options.decay)


def _nir(controller: Controller, run: Run, options: ExportOptions) -> ExportedFile:
    from homeo_rl.exchange.nir_graph import export_nir

    return export_nir(controller, *_dialect(options))


def _nir_compiled(run: Run, options: ExportOptions) -> ExportedFile:
    from homeo_rl.compiler.storage import load_compiled
    from homeo_rl.exchange.nir_compiled import Names, export_compiled

    network, document, _ = load_compiled(run)
    return export_compiled(network, Names(tuple(document.inputs), tuple(document.outputs)), *_dialect(options))


def _onnx(controller: Controller, run: Run, options: ExportOptions) -> ExportedFile:
    from homeo_rl.exchange.onnx_model import export_onnx

    return export_onnx(controller, spikes=options.spikes)


def _safetensors(controller: Controller, run: Run, options: ExportOptions) -> ExportedFile:
    from homeo_rl.exchange.safetensors_policy import export_safetensors

    return export_safetensors(controller, run.spec)


def _sb3_zip(controller: Controller, run: Run, options: ExportOptions) -> ExportedFile:
    from homeo_rl.training.rl_zoo.sb3_zip import zip_of

    blob, opens = zip_of(controller, run.spec)
    return ExportedFile(blob, (f"open it with {opens}.load; critics and optimisers in it are fresh",))


def _c(controller: Controller, run: Run, options: ExportOptions) -> ExportedFolder:
    from homeo_rl.workflows.deploy import export_controller

    return export_controller(controller, run, arm=options.homeostasis, which=options.which, number=options.number)


def _check_c(options: ExportOptions) -> None:
    from homeo_rl.exchange.c.mechanism import Mechanism, split
    from homeo_rl.homeostasis import make_homeostasis

    mechanism = split(make_homeostasis(options.homeostasis))
    if options.number == "int" and mechanism != Mechanism():
        raise UsageError(
            f"--number int: expected --homeostasis none, integers do not adapt, got {options.homeostasis}; leave one "
            "of them out"
        )


EXPORTERS: dict[str, Exporter] = {
    "nir": Exporter(
        _nir, ("dialect", "dt", "decay"), _nir_compiled, _dialect,
        leaves_out="homeostasis; in the metadata only: normaliser, encoder, read-out, action scaling, reflex",
    ),
    "onnx": Exporter(_onnx, ("spikes",), leaves_out="homeostasis, exploration, critics"),
    "safetensors": Exporter(_safetensors, leaves_out="the code that acts, homeostasis, calibration, critics"),
    "sb3-zip": Exporter(_sb3_zip, leaves_out="homeostasis; trained critics, optimisers and replay buffer"),
    "c": Exporter(
        _c, ("homeostasis", "number"), check=_check_c, folder=True,
        leaves_out="exploration, critics, and mechanisms other than that of --homeostasis",
    ),
}  # fmt: skip
"""Formats that `homeo-rl export` knows."""


def require_exportable(controller: Controller, run: Run) -> None:
    """Check that a policy is a network of this package. Raises UsageError: it is not."""
    if controller.spec.network.external is not None:
        raise UsageError(
            f"{run.path}: expected a network of this package, got {controller.kind}, which has no other form; use "
            "its own file, or homeo-rl distill makes a spiking policy of it"
        )


def check_options(target: str, options: ExportOptions) -> None:
    """Check that a format takes the options that differ from their defaults, and that they go together.

    Raises UsageError: it does not, or they do not.
    """
    for names in (("dialect", "dt", "decay"), ("spikes",), ("homeostasis", "number")):
        foreign = [name for name in names if name not in EXPORTERS[target].options]
        if any(getattr(options, name) != getattr(ExportOptions(), name) for name in foreign):
            flags = " and ".join(", ".join(f"--{name}" for name in names).rsplit(", ", 1))
            takers = " or ".join(f"--to {key}" for key, entry in EXPORTERS.items() if set(names) & set(entry.options))
            raise UsageError(
                f"{flags}: expected {takers}, got --to {target}; leave {'them' if names[1:] else 'it'} out"
            )
    EXPORTERS[target].check(options)
