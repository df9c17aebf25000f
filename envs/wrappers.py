"""Wrappers that a run names, as rl-zoo's ``env_wrapper`` does: dotted names, with arguments where they need some.

``gymnasium.wrappers.FlattenObservation``, or ``{gymnasium.wrappers.RescaleAction: {min_action: -1, max_action: 1}}``,
or a list of such.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from homeo_rl.errors import HomeoError, UsageError, unknown

Env = gym.Env[Any, Any]

KEY = "env_wrapper"
"""Name among the arguments of an environment that stands for its wrappers; the environment is not given it."""

FLATTEN = "gymnasium.wrappers.FlattenObservation"


def wrappers_of(named: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return names and arguments of wrappers, innermost first. Raises UsageError: it is not of the form above."""
    result = []
    for entry in named if isinstance(named, list | tuple) else [named] if named else []:
        single = isinstance(entry, dict) and len(entry) == 1
        name, arguments = (entry, {}) if isinstance(entry, str) else tuple(*entry.items()) if single else ("", None)
        arguments = {} if arguments is None and name else arguments
        if not isinstance(name, str) or "." not in name.strip(".") or not isinstance(arguments, dict):
            raise UsageError(
                f"env wrapper: expected a dotted name such as {FLATTEN}, or {{name: {{argument: value}}}}, "
                f"got {entry!r}"
            )
        result.append((name, arguments))
    return result


def wrap(env: Env, named: Any, import_modules: Callable[[Sequence[str]], None]) -> Env:
    """Return ``env`` inside the wrappers that ``named`` gives.

    Raises UsageError: a wrapper is not known, is no `gymnasium.Wrapper`, or does not take its arguments or ``env``.
    """
    for name, arguments in wrappers_of(named):
        module, _, word = name.rpartition(".")
        import_modules([module])
        kind = getattr(sys.modules[module], word, None)
        if kind is None:
            raise unknown(f"wrapper of {module}", word, [one for one in dir(sys.modules[module]) if one[:1] != "_"])
        if not (isinstance(kind, type) and issubclass(kind, gym.Wrapper)):
            raise UsageError(f"env wrapper {name}: expected a class of gymnasium.Wrapper, got {kind!r:.60}")
        try:
            env = kind(env, **arguments)
        except HomeoError:
            raise
        except (Exception, SystemExit) as error:
            text = " ".join(str(error).split()) or "no message"
            raise UsageError(
                f"env wrapper {name}: {type(error).__name__}: {text[:300]}; check its arguments"
            ) from error
    return env
