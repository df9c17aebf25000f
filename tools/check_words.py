"""Keep names and prose in the words of the field: ``python tools/check_words.py [PATH ...]``.

Functions are verbs, values are nouns. Each word below has a better one; a line that must keep a word (a published name,
a quotation) ends with ``# words: keep``, in Markdown with ``<!-- words: keep -->``.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("homeo_rl", "agents", "envs", "degradations", "docs", "README.md", "CONTRIBUTING.md")
KEEP = "words: keep"

NAMES = {
    "found": "result, or the name of the thing",
    "told": "document, message, arguments",
    "mine": "the name of the thing",
    "said": "message",
    "given": "the name of the thing",
    "own": "the name of the thing",
}
"""Names of variables, arguments and attributes, as a whole."""

PARTS = {
    "bed": "slot state",
    "births": "generation",
    "greet": "wait_ready",
    "hear": "receive",
    "heard": "received",
    "keeper": "checkpointer",
    "likeness": "config key",
    "luggage": "run archive",
    "mend": "repair",
    "mended": "repaired",
    "patience": "deadline",
    "seat": "supervised worker",
    "specimen": "recorded episode",
    "surely": "require_significance",
    "tend": "maybe_sleep",
    "wish": "request",
    "wishes": "requests",
    "woken": "sleep result",
    "worn": "effective weights",
}
"""Words inside any name."""

PROSE = {
    r"told": "given, reported, specified",
    r"aloud": "with a message",
    r"mend(s|ed|ing)?": "repair",
    r"(go|goes|going|gone) on with|goes on where": "resume, continue",
    r"healthy days": "clean operation",
    r"strangers?": "untrusted source, third party",
    r"luggage": "archive",
    r"seats?": "worker",
    r"surroundings": "environment",
    r"nobody here|nobody is|nobody has|nobody can": "no one, or name the actor",
}
"""Words of docstrings, comments and pages (regular expressions)."""

IRREGULAR = frozenset(
    [
        "built",
        "drawn",
        "found",
        "heard",
        "held",
        "kept",
        "known",
        "laid",
        "made",
        "meant",
        "put",
        "said",
        "seen",
        "sent",
        "shown",
        "spelt",
        "spoken",
        "spread",
        "swept",
        "taken",
        "told",
        "thrown",
        "worn",
        "written",
    ]
)
NO_PARTICIPLES = frozenset(["bed", "embed", "exceed", "feed", "led", "need", "proceed", "red", "seed", "shed", "speed"])


class Finding(NamedTuple):
    """A word that is not the field's, and a better one."""

    path: Path
    line: int
    word: str
    better: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: write {self.better}"


def words_of(name: str) -> list[str]:
    """Return the lower-case words of an identifier."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def is_participle(word: str) -> bool:
    """Return whether a word reads as a past participle."""
    return word in IRREGULAR or (len(word) > 3 and word.endswith("ed") and word not in NO_PARTICIPLES)


def check_name(name: str) -> str | None:
    """Return a better word for one inside an identifier."""
    if name in NAMES:
        return NAMES[name]
    return next((PARTS[word] for word in words_of(name) if word in PARTS), None)


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the names that a module gives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def functions_without_a_verb(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield functions whose name begins with a participle; properties and predicates may."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        words = words_of(node.name)
        predicate = isinstance(node.returns, ast.Name) and node.returns.id == "bool"
        decorators = {ast.unparse(part) for part in node.decorator_list}
        if words and is_participle(words[0]) and not predicate and not decorators & {"property", "cached_property"}:
            yield node.lineno, node.name


def check_prose(path: Path, line: int, text: str) -> Iterator[Finding]:
    """Yield the findings of some lines of prose; what stands in backquotes is code."""
    for offset, row in enumerate(text.splitlines()):
        plain = re.sub(r"`[^`]*`", "", row)
        for pattern, better in PROSE.items():
            for match in re.finditer(rf"\b(?:{pattern})\b", plain, re.IGNORECASE):
                yield Finding(path, line + offset, match.group(), better)


def check_python(path: Path) -> Iterator[Finding]:
    """Yield the findings of a module: its names, docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for line, name in names_in(tree):
        if better := check_name(name):
            yield Finding(path, line, name, better)
    for line, name in functions_without_a_verb(tree):
        yield Finding(path, line, name, "a verb first")
    for node in ast.walk(tree):
        # Docstrings, and the strings below fields that document them.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from check_prose(path, node.lineno, node.value.value)
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield from check_prose(path, token.start[0], token.string)


def check_page(path: Path) -> Iterator[Finding]:
    """Yield the findings of a Markdown page, without its blocks of code."""
    text = path.read_text(encoding="utf-8")
    blank = re.sub(r"^(```|~~~).*?^\1", lambda block: "\n" * block.group().count("\n"), text, flags=re.M | re.S)
    yield from check_prose(path, 1, blank)


def check(path: Path) -> list[Finding]:
    """Return the findings of a file, without the lines that keep their words."""
    findings = check_python(path) if path.suffix == ".py" else check_page(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    return [finding for finding in findings if KEEP not in lines[finding.line - 1]]


def files_in(place: Path) -> list[Path]:
    """Return the modules and pages of a folder, those behind links and generated ones left out."""
    if place.is_file():
        return [place]
    paths = [path for path in sorted(place.rglob("*")) if path.suffix in (".py", ".md")]
    linked = [link for link in place.iterdir() if link.is_symlink()] if place.is_dir() else []
    generated = ROOT / "docs" / "results"
    paths = [path for path in paths if generated not in path.resolve().parents]
    return [path for path in paths if not any(link in path.parents for link in linked)]


def main(words: list[str]) -> int:
    """Print the findings and return how many there are, at most 1."""
    places = [Path(word) for word in words] or [ROOT / place for place in PLACES]
    findings = [finding for place in places for path in files_in(place) for finding in check(path)]
    for finding in sorted(findings):
        print(finding)
    return min(len(findings), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
