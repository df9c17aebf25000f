"""What people see, kept as files: look at them. HOMEO_RL_WRITE_SCREENS=1 writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import terminal

from homeo_rl.cli.command import command_names

GOLDEN = Path(__file__).parents[1] / "golden" / "screens"

HELP = {
    "help": [],
    "version": ["--version"],
    "help-of-a-command": ["help", "conditions"],
    **{f"help-{name}": [name, "--help"] for name in command_names()},
}

FAILURES = {
    "unknown-command": ["trian"],
    "unknown-command-unlike-any": ["xyzzy"],
    "flag-before-the-command": ["--json", "train"],
    "help-of-no-command": ["help", "trian"],
    "unknown-flag": ["train", "--eval-frq", "100"],
    "unknown-flag-that-is-a-hyperparameter": ["train", "--lerning-rate", "1e-3"],
    "unknown-flag-unlike-any": ["suites", "--xyzzy"],
    "unknown-agent-unlike-any": ["train", "--env", "Pendulum-v1", "--agent", "xyzzy"],
    "unknown-hyperparameter": ["train", "-params", "lerning_rate:1e-3"],
    "missing-argument": ["evaluate"],
    "missing-flags": ["import", "popsan", "weights.npz"],
    "missing-value": ["train", "-n"],
    "missing-value-before-a-flag": ["train", "--out", "--env", "Pendulum-v1"],
    "not-a-whole-number": ["train", "-n", "abc"],
    "half-a-step": ["train", "-n", "1.5"],
    "no-steps": ["train", "-n", "0"],
    "not-a-number": ["doctor", "--seconds", "nan"],
    "empty-path": ["train", "--out", ""],
    "unknown-choice": ["import", "popzan", "weights.npz", "--env", "Ant-v5", "--out", "x"],
    "a-word-too-many": ["train", "ppo"],
    "unknown-environment": ["train", "--env", "Tank-v0"],
    "unknown-algorithm": ["train", "-n", "1e5", "--algo", "pp0"],
    "unknown-run": ["evaluate", "popsan-at-0"],
    "unknown-file": ["inspect", "nowhere"],
    "unknown-suite": ["conditions", "quikc"],
    "no-weights": ["train", "--env", "Pendulum-v1", "-i", "nowhere.zip"],
    "bad-specification": ["compile", "count(prox, ", "--inputs", "prox"],
    "no-runs-to-report": ["report"],
    "no-such-grid": ["sweep", "nowhere.yml", "--out", "x"],
    "no-such-study": ["study", "nowhere.yml", "--out", "x"],
    "no-such-shell": ["completion", "fish"],
}

SUCCESSES = {
    "agents": ["agents"],
    "suites": ["suites"],
    "conditions": ["conditions", "paper-mujoco"],
    "arms": ["arms"],
    "compile": ["compile", "count(prox, 2, window=3)", "--inputs", "prox"],
}


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All screens, from one terminal."""
    named = {**HELP, **FAILURES, **SUCCESSES}
    screens = terminal.screens(list(named.values()), tmp_path_factory.mktemp("empty"), terminal=True)
    texts = dict(zip(named, screens, strict=True))
    if os.environ.get("HOMEO_RL_WRITE_SCREENS"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for path in GOLDEN.glob("*.txt"):
            path.unlink()
        for name, screen in texts.items():
            (GOLDEN / f"{name}.txt").write_text(f"$ {' '.join(['homeo-rl', *named[name]])}\n{screen}", encoding="utf-8")
    return texts


def test_screens_are_the_kept_ones(display: dict[str, str]) -> None:
    kept = {path.stem: path.read_text(encoding="utf-8").partition("\n")[2] for path in GOLDEN.glob("*.txt")}
    assert set(display) == set(kept)
    differing = [name for name in display if display[name] != kept[name]]
    assert not differing, "\n".join(f"{name}:\n{display[name]}" for name in differing)


def test_failures_are_one_line_with_exit_code_2(display: dict[str, str]) -> None:
    for name in FAILURES:
        *message, code = display[name].splitlines()
        assert code == "[exit 2]", name
        assert 1 <= len(message) <= (3 if name == "bad-specification" else 1), message
        assert message[0].startswith("homeo-rl"), message
        assert not set("│╭╮╰╯─\x1b") & set("".join(message)), message
        assert len("".join(message)) <= 3 * terminal.COLUMNS, message


def test_nothing_but_a_message_is_wider_than_the_terminal(display: dict[str, str]) -> None:
    for name in (*HELP, *SUCCESSES):
        lines = display[name].splitlines()
        assert lines[-1] == "[exit 0]", name
        assert max(map(len, lines)) <= terminal.COLUMNS, name
        assert "…" not in display[name]


def test_a_pipe_gets_the_same_words(display: dict[str, str], tmp_path: Path) -> None:
    """Tables alone are as wide in it as they need."""
    named = {**HELP, **FAILURES}
    piped = terminal.screens(list(named.values()), tmp_path, terminal=False)
    assert dict(zip(named, piped, strict=True)) == {name: display[name] for name in named}
    assert not list(tmp_path.iterdir()), "nothing was written"
