"""The command ``homeo-rl inspect``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.flags import Common, Positional
from homeo_rl.errors import HomeoError, StorageFault
from homeo_rl.storage.files import printable

COMMAND = Command(EVALUATE, 6, "show the contents of a run or a file")


@dataclass(frozen=True, kw_only=True)
class Inspect(Common):
    """Describe a run, a policy bundle, a Stable-Baselines3 zip or an .npz, without executing anything in it."""

    path: Positional[Path]
    """Folder or file, or the name of a pretrained agent."""


_MAX_ROWS = 200  # most printed lines of a list; --json has them all


def run(args: Inspect, words: list[str]) -> dict[str, Any]:
    """Describe what a path contains.

    The JSON of a member of an archive has ``warning``, and beside it ``odd``, its name of version 0.1, for one more
    version.

    Raises:
        UsageError: the format is unknown.
        StorageFault: the file or a part of the run is damaged; the other parts were printed before.
    """
    from homeo_rl.inspection.run_folder import describe

    try:
        content = describe(args.path)
    except HomeoError as error:
        raise type(error)(printable(error, 1000)) from None  # names in a file must not control the terminal
    for member in content.get("members", []):
        member["warning"] = member["odd"]
    for line in _LINES[content["kind"]](content):
        print(line)
    faults = content.get("faults") or []
    if faults:
        more = "" if len(faults) == 1 else f" (and {len(faults) - 1} more damaged parts)"
        raise StorageFault(f"{faults[0]}{more}", result=content)
    return content


def _run_lines(content: dict[str, Any]) -> Iterator[str]:
    spec = content["spec"]
    yield f"run: {printable(content['path'])}"
    yield f"origin: {spec['origin']}, {_words(spec, 'env', 'agent', 'algo', 'source', 'homeostasis_in_training')}"
    of = f" of {spec['planned']}" if spec["planned"] else ""
    yield f"trained: {spec['steps']}{of} steps, seed {spec['seed']}"
    if spec["env_kwargs"]:
        yield "environment: " + printable(", ".join(f"{name} {word}" for name, word in spec["env_kwargs"].items()), 400)
    if spec["randomise"]:
        yield f"randomised: {_faults(spec['randomise'])}"
    if spec["command"]:
        yield f"command: {printable(spec['command'], 400)}"
    if spec["versions"]:
        yield "versions: " + printable(", ".join(f"{name} {text}" for name, text in spec["versions"].items()), 400)
    yield from _network_lines(content["policy"])
    for name, bundle in content["bundles"].items():
        yield f"{name}: {_size(bundle)}"
        yield from _network_lines(bundle.get("compiled"))
    if content["forward_model"] is not None:
        yield "forward model: " + ", ".join(content["forward_model"]["header"])
        yield from (f"sensor {', '.join(filter(None, row))}" for row in _few(content["forward_model"]["rows"]))
    for name, bundle in content["checkpoints"].items():
        yield f"checkpoint {printable(name)}: {_size(bundle)}"
    if content["replay_segments"]:
        yield f"replay: {content['replay_segments']} segments"
    for evaluation in _few(content["evaluations"]):
        state = "finished" if evaluation["finished"] else "not finished"
        keys = [key for key in ("suite", "arms", "episodes", "seed") if key in evaluation]
        words = "".join(f", {key} {printable(evaluation[key])}" for key in keys)
        yield f"evaluation {printable(evaluation['name'])}: {state}{words}"
    if content["archives"]:
        yield "archives, not opened: " + printable(", ".join(content["archives"]), 400)
    for fault in content["faults"]:
        yield f"DAMAGED: {printable(fault, 400)}"


def _faults(randomise: dict[str, Any]) -> str:
    """Return the conditions of a randomised training, with the largest severities that are not 1."""
    names = []
    for entry in randomise.get("conditions") or ():
        if isinstance(entry, dict):
            largest = "" if entry.get("severity") == 1 else f" up to {entry.get('severity')}"
            names.append(f"{entry.get('name')}{largest}")
    share = randomise.get("clean_share")
    return printable(
        f"{randomise.get('name')}, one of {', '.join(names)} in each episode, none in {share} of them", 600
    )


def _bundle_lines(content: dict[str, Any]) -> Iterator[str]:
    yield f"bundle: {printable(content['path'])}"
    size = f"{content['numbers']} numbers, {content['bytes']} bytes, all finite"
    yield f"sound: {len(content['tensors'])} tensors, {size}"
    yield from _network_lines(content["policy"])
    yield from _network_lines(content["compiled"])
    for key, value in _few(list(content["document"].items())):
        yield f"document: {printable(key)}: {printable(value)}"
    yield from _array_lines(content["tensors"])


def _sb3_lines(content: dict[str, Any]) -> Iterator[str]:
    yield f"Stable-Baselines3 zip: {printable(content['path'])}, {content['bytes']} bytes"
    yield f"version: {printable(content['version']) or 'not recorded'}"
    yield from _member_lines(content["members"], pickles=set(content["pickles"]))
    for key, value in _few(list(content["data"].items())):
        yield f"data: {printable(key)}: {printable(value)}"
    yield from (f"system: {printable(line)}" for line in content["system"])
    yield f"pickles: {len(content['pickles'])}, not opened; Stable-Baselines3 executes them when it loads this file"


def _npz_lines(content: dict[str, Any]) -> Iterator[str]:
    yield f"numpy archive: {printable(content['path'])}, {content['bytes']} bytes"
    yield from _member_lines(content["members"], pickles=set())
    yield from _array_lines(content["arrays"])
    yield "values were not read"


def _member_lines(members: list[dict[str, Any]], pickles: set[str]) -> Iterator[str]:
    for member in _few(members):
        note = ", pickled, not opened" if member["name"] in pickles else ""
        note += f", {member['warning'].upper()}" if member["warning"] else ""
        yield f"member {printable(member['name'])}: {member['bytes']} bytes, packed {member['compressed']}{note}"


def _array_lines(arrays: list[dict[str, Any]]) -> Iterator[str]:
    for array in _few(arrays):
        yield f"array {printable(array['name'])}: {printable(array['dtype'])} {printable(array['shape'])}"


def _network_lines(network: dict[str, Any] | None) -> Iterator[str]:
    if network is not None:
        yield "network: " + ", ".join(f"{key} {printable(value)}" for key, value in network.items() if value)


def _few(rows: list[Any]) -> Iterator[Any]:
    yield from rows[:_MAX_ROWS]


def _size(bundle: dict[str, Any]) -> str:
    if not bundle["sound"]:
        return "DAMAGED"
    return f"sound, {bundle['tensors']} tensors, {bundle['numbers']} numbers, {bundle['bytes']} bytes"


def _words(spec: dict[str, Any], *keys: str) -> str:
    return ", ".join(f"{key} {printable(spec[key])}" for key in keys if spec[key]) or "nothing recorded"


_LINES = {"run": _run_lines, "bundle": _bundle_lines, "sb3": _sb3_lines, "npz": _npz_lines}
