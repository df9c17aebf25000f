"""A compiled network in a run folder: weights and shape, what it computes, what was proved."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from homeo_rl.compiler.build import Compiled
from homeo_rl.compiler.certify import Certificate
from homeo_rl.compiler.specification import Document
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run, versions
from homeo_rl.snn.recurrent import RecurrentNetwork
from homeo_rl.spec import RecurrentSpec, RunSpec, dump, parse
from homeo_rl.storage import bundle

_FOLDER = "network"


def network_of(compiled: Compiled) -> RecurrentNetwork:
    """Return the compiled network as one of the project's spiking networks."""
    network = RecurrentNetwork(compiled.recurrent)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(compiled.weight()))
    return network.eval().requires_grad_(False)


def save_compiled(
    out: Path, document: Document, compiled: Compiled, certificate: Certificate | None, *, command: str
) -> Run:
    """Write a run of origin "compile".

    Raises:
        UsageError: something lies at ``out`` already.
        StorageFault: the disk refused.
    """
    spec = RunSpec(origin="compile", env="", command=command, versions=versions(), source=document.name)
    run = Run.create(out, spec)
    texts = {
        "document": dump(document),
        "network": dump(compiled.recurrent),
        "notes": list(compiled.network.notes),
        "bounds": asdict(compiled.bounds),
        "certificate": "" if certificate is None else certificate.verdict,
    }
    bundle.save(run.path / _FOLDER, {"weight": compiled.weight()}, texts)
    return run


def load_compiled(run: Run) -> tuple[RecurrentNetwork, Document, dict[str, Any]]:
    """Read a compiled network: the network, its specification, and the other documents.

    Raises:
        UsageError: the run holds none.
        StorageFault: the bundle is damaged, or does not fit its own shape.
    """
    folder = run.path / _FOLDER
    if not folder.exists():
        raise UsageError(f"{run.path}: expected a compiled network, found none; make one with homeo-rl compile")
    tensors, texts = bundle.load(folder)
    spec = parse(RecurrentSpec, texts.get("network"), where=str(folder))
    weight, shape = tensors.get("weight"), (spec.neurons, len(spec.taps))
    if weight is None or len(tensors) != 1 or weight.shape != shape or weight.dtype != "float32":
        raise StorageFault(f"{folder}: expected a float32 weight of shape {shape}, got another")
    network = RecurrentNetwork(spec)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weight.copy()))
    return network.eval().requires_grad_(False), parse(Document, texts.get("document"), where=str(folder)), texts
