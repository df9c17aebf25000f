"""Put a compiled reflex beside a policy: a run whose actions the reflex gates, proved before it is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from homeo_rl.agents.controller import Controller, load_controller, save_controller
from homeo_rl.compiler.build import Compiled, compile_function
from homeo_rl.compiler.certify import Certificate, certify
from homeo_rl.compiler.specification import Document
from homeo_rl.errors import UsageError
from homeo_rl.run import Run, versions
from homeo_rl.spec import ReflexSpec, dump, parse


def compose(
    run: Run,
    document: Document,
    out: Path,
    *,
    where: str,
    which: str = "policy",
    fuse: bool = True,
    command: str = "",
    on_level: Callable[[int, int], None] | None = None,
) -> tuple[Run, Compiled, Certificate]:
    """Write a run in which the reflex of ``document`` gates the actions of ``run``.

    ``where`` names the document in messages; ``fuse`` says whether several operations may become one gate.

    Raises UsageError: the document does not fit the policy, or the network could not be proved; nothing is written.
    """
    controller = load_controller(run, which=which)
    if controller.reflex is not None:
        raise UsageError(f"{run.path}: expected a policy without reflex, this one has {controller.reflex.spec.name!r}")
    events = document.events(where)
    compiled = compile_function(document.function(where), document.neurons.neurons(), fuse=fuse)
    certificate = certify(compiled.network, compiled.function, on_level=on_level)
    if not certificate.equal:
        raise UsageError(
            f"{where}: expected a network that is proved equal to its specification, the search says "
            f"{certificate.verdict} after {certificate.states} states; make the windows shorter"
        )
    reflex = ReflexSpec(
        name=document.name or Path(where).stem,
        events=events,
        outputs=compiled.function.names,
        gates=document.gates,
        network=compiled.recurrent,
        document=dump(document),
        certificate=f"equal for every infinite train, {certificate.states} states",
    )
    spec = parse(type(controller.spec), {**dump(controller.spec), "reflex": dump(reflex)}, where=where)
    made = Controller(spec)
    tensors = {**controller.state_dict(), "reflex.network.weight": torch.from_numpy(compiled.weight())}
    made.load_state_dict(tensors)
    new = replace(
        run.spec, origin="compose", controller=spec, source=str(run.path), command=command, versions=versions()
    )
    composed = Run.create(out, new)
    save_controller(composed, made)
    return composed, compiled, certificate
