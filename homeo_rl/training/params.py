"""Reading hyper-parameters from words and files; nothing here loads torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeo_rl.envs.frame_stack import KEY as FRAMES
from homeo_rl.envs.wrappers import FLATTEN, wrappers_of
from homeo_rl.envs.wrappers import KEY as WRAPPERS
from homeo_rl.errors import UsageError
from homeo_rl.storage.files import printable
from homeo_rl.storage.yaml_file import decode, read_yaml
from homeo_rl.training.rl_zoo.reader import Section, translate


def parse_params(texts: Sequence[str], flag: str = "-params") -> dict[str, Any]:
    """Parse ``name:value`` pairs; values are YAML, so ``[64,64]``, ``1e-3`` and ``{steps: 8}`` work.

    Raises UsageError: a text is not such a pair.
    """
    values = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name:
            got = printable(repr(text))
            raise UsageError(f"{flag}: expected name:value, got {got}; write for example learning_rate:3e-4")
        values[name] = _scalar(value, f"{flag} {printable(name, 40)}")
    return values


def environment_arguments(flags: Any, under: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what flags say of the environment, as the arguments that `homeo_rl.envs.make.make_env` takes.

    ``flags`` are those of `homeo_rl.cli.flags.WithEnvironment`; ``under`` is what files say; a wrapper that a flag
    names replaces all of theirs.

    Raises UsageError: a flag is not of its form.
    """
    result = parse_params(flags.env_kwargs, "--env-kwargs")
    wrappers = wrappers_of({**(under or {}), **result}.get(WRAPPERS))
    if flags.env_wrapper:
        wrappers = [_wrapper(text) for text in flags.env_wrapper]
    if flags.flatten_observations:
        wrappers.append((FLATTEN, {}))
    if wrappers:
        result[WRAPPERS] = [{name: arguments} if arguments else name for name, arguments in wrappers]
    if flags.frame_stack is not None:
        result[FRAMES] = flags.frame_stack
    if flags.max_episode_steps is not None:
        result["max_episode_steps"] = flags.max_episode_steps
    return result


def _wrapper(text: str) -> tuple[str, dict[str, Any]]:
    name, _, arguments = text.partition(":")
    [wrapper] = wrappers_of([{name: _scalar(arguments, f"--env-wrapper {name}")} if arguments.strip() else name])
    return wrapper


def read_config(path: Path, env: str, algo: str) -> Section:
    """Read what a YAML file in rl-zoo's form, ``{env: {name: value}}``, says about ``env`` (``-conf``).

    A section ``default`` stands for environments without one of their own.

    Raises UsageError: the file is missing, malformed, does not mention ``env``, or says what has no counterpart here.
    """
    try:
        document = read_yaml(path, repeats=True).data
    except UsageError as error:
        raise UsageError(f"--conf {error}") from None
    sections = document if isinstance(document, dict) else {}
    section = sections.get(env, sections.get(env.rpartition(":")[2], sections.get("default")))
    if not isinstance(section, dict):
        raise UsageError(f"--conf {path}: expected a section {env!r} with hyper-parameters, found none; add it")
    translated = translate(section, algo=algo, env=env, where=f"--conf {path}")
    return replace(
        translated,
        hyperparams={
            name: _scalar(value, f"--conf {name}") if isinstance(value, str) else value
            for name, value in translated.hyperparams.items()
        },
    )


def _scalar(text: str, where: str) -> Any:
    value = decode(text, where).data
    if isinstance(value, str):
        try:
            number = float(value)  # YAML reads 1_000.5e3 as a text
        except ValueError:
            return value
        return decode(f"{number!r}", where).data
    return value
