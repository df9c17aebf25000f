"""The commands of README, tutorial and pages, in order, as a new user would type them, each made short."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from homeo_rl.cli import main
from homeo_rl.cli.command import flags_of
from homeo_rl.cli.parsing import parse
from homeo_rl.envs.rendering import choose_backend
from homeo_rl.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^ *homeo-rl [a-z-]+ .*$", re.MULTILINE)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOUR = (
    "README.md",
    "docs/published-policy.md",
    "docs/navigation.md",
    "docs/pascal.md",
    "docs/anytime.md",
    "docs/compiler.md",
)
"""The README and the pages that continue where it stops, in the order of reading."""
TOO_LONG = ("ablate", "vision")
"""Commands that take hours, or data that are not here."""
QUIET = ("train", "evaluate", "distill", "convert", "compose", "compile")
OFFICE = {
    "name": "office",
    "outer": [[0, 0], [6, 0], [6, 6], [0, 6]],
    "discs": [{"center": [3, 3], "radius": 0.4}],
    "start": {"within": [[1, 1], [1.5, 1.5]]},
    "goal": {"fixed": [5, 5]},
}


def commands(page: Path) -> list[list[str]]:
    """Return the words after ``homeo-rl`` of every command that stands on a line of its own."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in COMMAND.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page: Path) -> None:
    for name, *words in commands(page):
        if name != "help":
            parse(flags_of(name), words, prog=name)


def short(words: list[str]) -> list[str]:
    """Return the same command with fewer steps, episodes and frames."""
    kind, words = words[0], list(words)

    def set_flag(flag: str, value: str) -> None:
        if flag in words:
            words[words.index(flag) + 1] = value
        else:
            words.extend([flag, value])

    if kind == "train":
        set_flag("-n", "256" if "ppo" in words else "150")
        set_flag("--eval-freq", "-1")
        smaller = ["n_steps:64", "batch_size:32"] if "ppo" in words else ["learning_starts:100", "batch_size:32"]
        place = words.index("-params") + 1 if "-params" in words else len(words)
        words[place:] = [*([] if "-params" in words else ["-params"]), *smaller, *words[place:]]
    elif kind == "evaluate":
        for flag, value in (("--episodes", "1"), ("--workers", "1"), ("--calibration-episodes", "1")):
            set_flag(flag, value)
        set_flag("--max-episode-steps", "60")
    elif kind == "distill":
        for flag, value in (("--rounds", "1"), ("--samples", "200"), ("--gradient-steps", "50")):
            set_flag(flag, value)
    elif kind == "convert":
        set_flag("--finetune-steps", "20")
        set_flag("--episodes", "1")
    elif kind == "enjoy":
        set_flag("--max-episode-steps" if "--steps" not in words else "--steps", "20")
    return [*words, "--no-progress"] if kind in QUIET else words


def rendered() -> bool:
    try:
        choose_backend()
    except UsageError:
        return False
    return True


@pytest.mark.parametrize(
    ("pages", "outside"),
    [(TOUR, False), (("docs/tutorial.md",), True), pytest.param(TOUR, True, marks=pytest.mark.long)],
    ids=["tour", "tutorial", "tour-outside"],
)
def test_pages_from_the_first_command_to_the_last(
    pages: tuple[str, ...],
    outside: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.setenv(name, "")  # whatever is chosen is undone after the test
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(
        sys, "path", [place for place in sys.path if place not in ("", str(ROOT / "tests" / "support"))]
    )
    monkeypatch.chdir(tmp_path)
    write_routes(Path("routes.json"))
    done: list[str] = []
    left: list[str] = []
    for words in (words for page in pages for words in commands(ROOT / page)):
        if words[0] in TOO_LONG:
            continue
        line = f"homeo-rl {shlex.join(words)}"
        if words[:2] == ["import", "popsan"]:
            try:
                shutil.copy(request.getfixturevalue("popsan_file"), words[2])
            except pytest.skip.Exception:
                left.append(line)
                continue
        if "actor.npz" in words:
            write_actor(Path("actor.npz"))
        if "--out" in words and words[0] == "train" and Path(words[words.index("--out") + 1]).exists():
            continue  # shown a second time
        if words[0] == "distill" and not Path("runs/teacher").exists():
            shutil.copytree("runs/pole", "runs/teacher")
        if (words[0] == "enjoy" and "navigation-san" not in words and not rendered()) or (
            any("popsan" in word for word in words) and any("import popsan" in other for other in left)
        ):
            left.append(line)
            continue
        give(short(words), outside=outside)
        done.append(line)
    assert len(done) + len(left) >= (20 if pages == TOUR else 5)
    assert len(done) >= len(left)
    for line in left:
        print(f"left out (no published policy or no OpenGL here): {line}")


def give(words: list[str], *, outside: bool) -> None:
    """Give a command: ``outside`` by the console script with nothing set, else in this process, which takes less."""
    if outside:
        environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        script = Path(sys.executable).parent / "homeo-rl"
        done = subprocess.run([script, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr[-2000:])
        return
    try:
        main(words)
    except SystemExit as ended:
        pytest.fail(f"exit {ended.code}: homeo-rl {shlex.join(words)}")


def write_routes(path: Path) -> None:
    """Write a route of the evaluation world: one that the environment drew."""
    env = gym.make("homeo_rl/Navigation-v0")
    _, info = env.reset(seed=0)
    env.close()
    route = {"start": [float(value) for value in info["pose"]], "goal": [float(value) for value in info["goal"]]}
    path.write_text(json.dumps({"routes": [route]}))


def write_actor(path: Path) -> None:
    """Write an actor of the published layout, untrained."""
    sizes, draws = (24, 256, 256, 256, 2), np.random.default_rng(0)
    np.savez(
        path,
        **{f"w{i}": draws.normal(0, 0.05, (sizes[i + 1], sizes[i])).astype(np.float32) for i in range(4)},
        **{f"b{i}": np.zeros(sizes[i + 1], dtype=np.float32) for i in range(4)},
    )


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_programs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands there is all that a reader has."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (program,) = [body for kind, body in FENCED.findall((ROOT / page).read_text(encoding="utf-8")) if kind == "python"]
    namespace: dict[str, object] = {}
    exec(compile(program, page, "exec"), namespace)
    assert namespace["controller"] is not None


def test_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("office.json").write_text(json.dumps(OFFICE))
    namespace: dict[str, object] = {"gym": gym}
    text = (ROOT / "docs" / "navigation.md").read_text(encoding="utf-8")
    for line in re.findall(r"^    ((?:env|many|mine) = gym[^#\n]*)", text, re.MULTILINE):
        exec(line, namespace)
    for line in ("env", "mine", "many"):
        world = namespace[line]
        assert isinstance(world, gym.Env | gym.vector.VectorEnv)
        world.reset(seed=0)
        world.close()
