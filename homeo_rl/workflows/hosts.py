"""Policies that are no runs yet, in place of a run: an ONNX graph, a zip, a safetensors file, or ``module:function``.

A run is made of them, as `homeo-rl import` makes one; everything that takes a run then works with it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from homeo_rl.envs.make import load_modules, make_env, width_advice
from homeo_rl.errors import UsageError
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec
from homeo_rl.workflows.importers import IMPORTERS

if TYPE_CHECKING:
    from homeo_rl.agents.controller import Controller

FUNCTION = "function"

_FUNCTION = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, kw_only=True)
class HostRequest:
    """Where a policy acts, and what its file does not say: see `homeo-rl import`."""

    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    agent: str = ""
    agent_kwargs: dict[str, Any] = field(default_factory=dict)
    normalize_from: Path | None = None
    reading: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    command: str = ""


def kind_of(host: str) -> str | None:
    """Return the importer of a text that stands in place of a run; None where it is taken for a run."""
    path = Path(host)
    for kind, importer in IMPORTERS.items():
        if path.suffix.lower() in importer.suffixes and not (path / "run.json").exists():
            return kind
    return FUNCTION if _FUNCTION.fullmatch(host) and not path.exists() else None


def name_of(host: str) -> str:
    """Return the name of the run that is made of a policy."""
    return host.replace(":", ".") if kind_of(host) == FUNCTION else Path(host).stem


def read_host(kind: str, host: Path | str, request: HostRequest) -> tuple[RunSpec, Controller]:
    """Return the specification of a run and its policy, with nothing written.

    Raises:
        UsageError: the policy is missing or malformed, does not fit the environment, or takes no such option.
        NumericalFault: it gives an action that is not finite.
    """
    from homeo_rl.agents.sb3.zip import DEFAULT_AGENT

    importer = IMPORTERS[kind]
    _require_options(kind, request)
    if not request.env:
        raise UsageError(f"{host}: expected --env, the environment that this policy drives, got none")
    digest = "" if kind == FUNCTION else _digest_of(Path(host))
    load_modules(request.modules)
    values = {
        "reading": request.reading, "agent": request.agent, "overrides": request.agent_kwargs,
        "normalize_from": request.normalize_from,
    }  # fmt: skip
    env_kwargs = {**importer.env_kwargs, **request.env_kwargs}
    with closing(make_env(request.env, env_kwargs)) as env:
        try:
            controller = importer.read(Path(host), env, **{name: values[name] for name in importer.options})
        except UsageError as error:
            advice = width_advice(env) if "for this environment and architecture" in str(error) else ""
            raise UsageError(f"{error}{advice}") from None
    external = controller.spec.network.external
    spec = RunSpec(
        origin="import",
        env=request.env,
        env_kwargs=env_kwargs,
        agent=(request.agent or DEFAULT_AGENT) if "agent" in importer.options else kind,
        digest=digest if external is None else external.sha256,
        hyperparams={"agent_kwargs": request.agent_kwargs} if request.agent_kwargs else {},
        controller=controller.spec,
        source=str(host) if kind == FUNCTION else Path(host).name,
        command=request.command,
        versions=versions(),
        modules=request.modules,
    )
    return spec, controller


def _require_options(kind: str, request: HostRequest) -> None:
    """Check that a kind takes the options that are given. Raises UsageError: it does not."""
    options = IMPORTERS[kind].options
    if request.reading and "reading" not in options:
        raise UsageError(f"--nir-options: expected a graph, import nir, got import {kind}; leave it out")
    if "agent" not in options and (request.agent or request.agent_kwargs):
        raise UsageError(f"import {kind}: its architecture is known; leave --agent and --agent-kwargs out")
    if "normalize_from" not in options and request.normalize_from is not None:
        raise UsageError(f"import {kind}: has its own statistics; --normalize-from is for sb3-zip, leave it out")


def _digest_of(path: Path) -> str:
    if not path.exists():
        raise UsageError(f"{path}: expected a file, found none")
    if not path.is_file():
        return ""  # the importer says what it expects
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_host(host: str, target: Path, request: HostRequest) -> tuple[Run, bool]:
    """Return the run at ``target`` that is made of a policy, and whether it was made now.

    Raises:
        UsageError: as of `read_host`, or another policy's run is there.
        NumericalFault: the policy gives an action that is not finite.
    """
    from homeo_rl.agents.controller import save_controller

    kind = kind_of(host)
    assert kind is not None
    spec, controller = read_host(kind, host, request)
    if (target / "run.json").exists():
        run = Run.open(target)
        if not _same(run, spec, controller):
            raise UsageError(
                f"{target}: expected the run of {host} as it is now, found another policy, environment or options; "
                "move it away, or give --out DIR"
            )
        return run, False
    run = Run.create(target, spec)
    save_controller(run, controller)
    return run, True


@contextmanager
def using_host(host: str, target: Path, request: HostRequest) -> Iterator[Run]:
    """Yield the run that is made of a policy; if a with block fails before anything is evaluated, it is removed."""
    had_folder = target.parent.exists()
    run, is_new = make_host(host, target, request)
    try:
        yield run
    except BaseException:
        if is_new and not any((run.path / "evaluations").glob("*")):
            shutil.rmtree(run.path)
            if not had_folder:
                run.path.parent.rmdir()
        raise


def find_host(host: str, folder: Path) -> Run:
    """Return the run below ``folder`` that was made of a policy as it is now.

    Raises UsageError: there is none, or the policy was changed since.
    """
    target = folder / name_of(host)
    if not (target / "run.json").exists():
        raise UsageError(f"{host}: expected its run {target}, found none; run homeo-rl evaluate {host} --env ID first")
    run, digest = Run.open(target), ""
    if kind_of(host) == FUNCTION:
        from homeo_rl.agents.external import load_function

        _, digest = load_function(host)
    else:
        digest = _digest_of(Path(host))
    if run.spec.digest != digest:
        raise UsageError(
            f"{target}: was made of another policy than {host} as it is now; evaluate that, with --out DIR"
        )
    return run


def _same(run: Run, spec: RunSpec, controller: Controller) -> bool:
    """Return whether a run has this policy, in this environment."""
    apart = {"command": "", "versions": {}, "modules": ()}
    if replace(run.spec, **apart) != replace(spec, **apart):  # type: ignore[arg-type]
        return False
    tensors, _ = run.load_policy()
    state = {name: value.numpy() for name, value in controller.state_dict().items()}
    return tensors.keys() == state.keys() and all(np.array_equal(tensors[name], state[name]) for name in state)
