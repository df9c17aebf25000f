"""The structure of the package, computed from its syntax trees: rooms, imports, sizes of functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from project_files import ROOT, sources

MAX_LOOSE = 6
MAX_LINES = 60
MAX_ARGUMENTS = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_of(path: Path) -> str:
    """Return the dotted name of a source file; the linked folders are packages of homeo_rl."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "homeo_rl" else ("homeo_rl", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sources()}


def find_imports(tree: ast.AST) -> Iterator[str]:
    """Yield every module that a tree imports anywhere: at its top, for type checkers alone, inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in TREES else node.module


def graph() -> dict[str, set[str]]:
    """Return what each module imports. A package's front door re-exports what is below it and counts as a leaf."""
    edges = {}
    for name, tree in TREES.items():
        inner = {module for module in find_imports(tree) if module in TREES and module != name}
        if any(module.startswith(f"{name}.") for module in inner):
            inner = {module for module in inner if not module.startswith(f"{name}.")}
        edges[name] = inner
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = [stack.pop()]
            while component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1:
                result.append(sorted(component))

    for name in edges:
        if name not in index:
            visit(name)
    return result


def functions() -> Iterator[tuple[str, Function]]:
    """Yield every function of the package with its module."""
    for name, tree in TREES.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, Function))


def test_few_modules_are_loose() -> None:
    loose = sorted(path.name for path in (ROOT / "homeo_rl").glob("*.py"))
    assert len(loose) <= MAX_LOOSE, loose


def test_no_import_circles() -> None:
    """Neither at run time nor by type hints nor by imports inside functions."""
    assert circles(graph()) == []


def test_circles_are_noticed() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def test_functions_are_short() -> None:
    long = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, node in functions()
        if not module.startswith("homeo_rl.snn.kernels") and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_LINES
    }  # fmt: skip
    assert long == {}


def test_functions_take_few_arguments() -> None:
    many = {}
    for module, node in functions():
        if module == "homeo_rl.snn.kernels.triton_scans" and node.decorator_list:
            continue  # a launch's arguments are its pointers: Triton takes records of them in its latest versions only
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > MAX_ARGUMENTS:
            many[f"{module}.{node.name}"] = count
    assert many == {}
