"""Reading hyper-parameters from words and files; nothing here loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError
from homeo_rl.files import printable
from homeo_rl.training.zoo_reading import Section, translated
from homeo_rl.yaml_file import decode, read_yaml


def parse_params(texts: Sequence[str], flag: str = "-params") -> dict[str, Any]:
    """Parse ``name:value`` pairs; values are YAML, so ``[64,64]``, ``1e-3`` and ``{steps: 8}`` work.

    Raises:
        UsageError: a text is not such a pair.
    """
    values = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name:
            got = printable(repr(text))
            raise UsageError(f"{flag}: expected name:value, got {got}; write for example learning_rate:3e-4")
        values[name] = _scalar(value, f"{flag} {printable(name, 40)}")
    return values


def read_config(path: Path, env: str, algo: str) -> Section:
    """Read what a YAML file in rl-zoo's form, ``{env: {name: value}}``, says about ``env`` (``-conf``).

    A section ``default`` stands for environments without one of their own.

    Raises:
        UsageError: the file is missing, malformed, does not mention ``env``, or says what has no counterpart here.
    """
    try:
        document = read_yaml(path, repeats=True).data
    except UsageError as error:
        raise UsageError(f"--conf {error}") from None
    sections = document if isinstance(document, dict) else {}
    section = sections.get(env, sections.get(env.rpartition(":")[2], sections.get("default")))
    if not isinstance(section, dict):
        raise UsageError(f"--conf {path}: expected a section {env!r} with hyper-parameters, found none; add it")
    told = translated(section, algo=algo, env=env, where=f"--conf {path}")
    return replace(
        told,
        hyperparams={
            name: _scalar(value, f"--conf {name}") if isinstance(value, str) else value
            for name, value in told.hyperparams.items()
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
