"""Flags become plans by the names of their fields: none may lose its way there when a field is renamed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from project_files import ROOT, sources

from homeo_rl import cli
from homeo_rl.cli.command import command_names, flags_of, module_of
from homeo_rl.cli.common import host_request, open_policy
from homeo_rl.cli.flags import Common
from homeo_rl.training.params import environment_arguments


class Call(NamedTuple):
    """A call of `make_plan`: the plan's class, what its fields are taken from, and the keywords beside."""

    kind: type[Any]
    source: str
    keywords: frozenset[str]


def names_of(kind: type[Any]) -> set[str]:
    """Return the names of a dataclass's fields."""
    return {entry.name for entry in fields(kind)}


def calls_of(tree: ast.AST, known: Mapping[str, Any]) -> Iterator[Call]:
    """Yield the calls of `make_plan` in a module, whose imports may stand inside functions, as those of commands do."""
    homes = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "make_plan":
            kind, source = node.args
            assert isinstance(kind, ast.Name)
            plan = known[kind.id] if kind.id in known else getattr(import_module(str(homes[kind.id])), kind.id)
            yield Call(plan, ast.unparse(source), frozenset(str(keyword.arg) for keyword in node.keywords))


READERS = (open_policy, host_request)
"""Functions that read the flags of a command that names a policy of another tool."""


def read_directly(tree: ast.AST, kind: type[Any]) -> set[str]:
    """Return the flags that a command reads: as args.NAME, by a property of its flags, or by getattr from a list."""
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "args"
    }
    for name in tuple(names):
        part = inspect.getattr_static(kind, name, None)
        if isinstance(part, property) and part.fget is not None:
            names |= set(re.findall(r"self\.(\w+)", inspect.getsource(part.fget)))
    for node in ast.walk(tree):
        if isinstance(node, ast.DictComp | ast.ListComp) and "getattr(args, name)" in ast.unparse(node):
            names |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("environment_arguments(args"):
            names |= set(re.findall(r"flags\.(\w+)", inspect.getsource(environment_arguments)))
        for reader in READERS:
            if isinstance(node, ast.Call) and ast.unparse(node).startswith(f"{reader.__name__}(args"):
                source = inspect.getsource(reader) + inspect.getsource(host_request)
                names |= set(re.findall(r"\bargs(?:\.|, \")(\w+)", source))
    return names


def find_unread(kind: type[Any], tree: ast.AST, known: Mapping[str, Any]) -> set[str]:
    """Return the flags of a command that neither its code reads nor a plan takes over."""
    taken = [names_of(call.kind) for call in calls_of(tree, known) if call.source == "args"]
    return names_of(kind) - names_of(Common) - read_directly(tree, kind) - set().union(*taken)


def tree_of(name: str) -> ast.AST:
    """Return the syntax tree of a command's module."""
    return ast.parse(Path(str(module_of(name).__file__)).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", command_names())
def test_every_flag_is_read(name: str) -> None:
    assert find_unread(flags_of(name), tree_of(name), vars(module_of(name))) == set()


def test_the_flags_of_all_commands_are_read() -> None:
    text = Path(str(cli.__file__)).read_text(encoding="utf-8")
    read = set(re.findall(r"command\.(\w+)", text)) | set(re.findall(r'"--(\w+)" in words', text))
    assert names_of(Common) <= read


def calls_in_package() -> list[Any]:
    """Return every call of `make_plan` with the file that it is in."""
    found = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if "make_plan(" in text and path.name != "same_fields.py":
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = import_module(".".join(parts if parts[0] == "homeo_rl" else ("homeo_rl", *parts)))
            found += [pytest.param(call, id=f"{path.stem}-{i}")
                      for i, call in enumerate(calls_of(ast.parse(text), vars(module)))]  # fmt: skip
    return found


@pytest.mark.parametrize("call", calls_in_package())
def test_keywords_of_plans_are_fields(call: Call) -> None:
    assert call.keywords <= names_of(call.kind)


@dataclass(frozen=True, kw_only=True)
class Flags(Common):
    """Two flags of a command that does not exist."""

    device: str = "cpu"
    seed: int = 0


def test_a_renamed_field_is_noticed() -> None:
    """The plan's ``device`` has another name, so its flag would be lost without a word."""
    tree = ast.parse("def run(args, words):\n    return make_plan(Plan, args)\n")
    plan = make_dataclass("Plan", [("seed", int), ("device", str, field(default="cpu"))])
    renamed = make_dataclass("Plan", [("seed", int), ("hardware", str, field(default="cpu"))])
    assert find_unread(Flags, tree, {"Plan": plan}) == set()
    assert find_unread(Flags, tree, {"Plan": renamed}) == {"device"}


def test_a_flag_that_is_read_is_no_finding() -> None:
    tree = ast.parse(
        "def run(args, words):\n    print(args.device)\n    return make_plan(Plan, args, hardware='cpu')\n"
    )
    renamed = make_dataclass("Plan", [("seed", int), ("hardware", str, field(default="cpu"))])
    assert find_unread(Flags, tree, {"Plan": renamed}) == set()
    (call,) = calls_of(tree, {"Plan": renamed})
    assert call.keywords <= names_of(renamed)
