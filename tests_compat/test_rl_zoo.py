"""rl-zoo's own scripts: on our zoo files, and on the folders that it and ``homeo-rl train`` wrote."""

from __future__ import annotations

import io
import re
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from conftest import HERE, call, record

TASKS = {
    "ppo": ("InvertedPendulum-v5", 4096),
    "sac": ("homeo_rl/NavigationTrain-v0", 6400),
    "td3": ("InvertedPendulum-v5", 600),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train each task with rl-zoo's script and with ours, from the same file; return the log folders."""
    folder = tmp_path_factory.mktemp("zoo")
    # rl-zoo imports a module of this name if there is one; some of its scripts take no --gym-packages.
    (folder / "custom_envs.py").write_text("import homeo_rl\n")
    for algo, (env, steps) in TASKS.items():
        shared = f"--algo {algo} --env {env} -n {steps} --gym-packages homeo_rl --seed 1"
        shared += f" --eval-freq {steps // 2} --eval-episodes 2 --save-freq {steps // 2}"
        conf = files("homeo_rl.training") / "zoo" / f"{algo}.yml"
        call(f"python -m rl_zoo3.train {shared} --conf-file {conf} -f theirs", cwd=folder)
        call(f"homeo-rl train {shared} --conf {conf} -f ours", cwd=folder)
    return {"theirs": folder / "theirs", "ours": folder / "ours"}


@pytest.mark.parametrize("who", ["theirs", "ours"])
@pytest.mark.parametrize("algo", list(TASKS))
class TestScripts:
    """Every script on every folder."""

    def test_enjoy(self, trained: dict[str, Path], who: str, algo: str) -> None:
        """The last policy acts; so does the best, from its own file."""
        for more, loaded in (("", f"{TASKS[algo][0].replace('/', '-')}.zip"), (" --load-best", "best_model.zip")):
            words = f"--gym-packages homeo_rl --no-render -n 1100{more}"
            said = play("enjoy", trained[who], algo, words)
            assert re.search(rf"Loading .*/{who}/{algo}/.*{re.escape(loaded)}", said), said
            assert re.search(r"Episode Reward: -?\d", said), said

    def test_record_video(self, trained: dict[str, Path], who: str, algo: str) -> None:
        """A film is written."""
        films = trained[who].parent / f"films-{who}-{algo}"
        play("record_video", trained[who], algo, f"-o {films} -n 20")
        (film,) = films.glob("*.mp4")
        assert film.stat().st_size > 2000

    def test_plot_train(self, trained: dict[str, Path], who: str, algo: str) -> None:
        """The curve of the training's episodes is drawn."""
        pictures = trained[who].parent / f"pictures-{who}-{algo}"
        pictures.mkdir()
        env = TASKS[algo][0].replace("/", "-")
        said = call(
            f"python -m rl_zoo3.plots.plot_train -a {algo} -e {env} -f {trained[who]} -w 2",
            cwd=trained[who].parent,
            MPLBACKEND="module://saving",
            PYTHONPATH=str(HERE),
            HOMEO_RL_FIGURES=str(pictures),
        )
        assert "1.png: 1 lines" in said, said
        assert (pictures / "1.png").stat().st_size > 5000

    def test_all_plots(self, trained: dict[str, Path], who: str, algo: str) -> None:
        """Evaluations are found and tabled."""
        env = TASKS[algo][0].replace("/", "-")
        words = f"-a {algo} -e {env} -f {trained[who]} --no-display --print-n-trials -o table-{who}-{algo}"
        said = call(f"python -m rl_zoo3.plots.all_plots {words}", cwd=trained[who].parent)
        assert f"{env}-{algo.upper()}-{trained[who]}: 1" in said, said
        record(f"rl-zoo-{who}-{algo}", scripts="train, enjoy, enjoy --load-best, record_video, plot_train, all_plots")


@pytest.mark.parametrize("algo", ["ppo", "td3"])
def test_both_programs_learn_the_same(trained: dict[str, Path], algo: str) -> None:
    """From one file and seed rl-zoo's training and ours end with the same parameters, bit for bit.

    Navigation is left out: ours runs it in compiled vector form, which draws its worlds in another order.
    """
    env = TASKS[algo][0]
    theirs, ours = (
        torch.load(io.BytesIO(ZipFile(folder / algo / f"{env}_1" / f"{env}.zip").read("policy.pth")), weights_only=True)
        for folder in trained.values()
    )
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    record(f"rl-zoo-same-{algo}", tensors=len(theirs), numbers=sum(value.numel() for value in theirs.values()))


def test_checkpoint(trained: dict[str, Path]) -> None:
    """``enjoy --load-checkpoint`` takes a policy from the middle of rl-zoo's training."""
    steps = TASKS["td3"][1] // 2
    said = play("enjoy", trained["theirs"], "td3", f"--no-render -n 300 --load-checkpoint {steps}")
    assert f"rl_model_{steps}_steps.zip" in said, said


def play(script: str, logs: Path, algo: str, words: str) -> str:
    """Run a script of rl-zoo on the run of ``algo``."""
    return call(f"python -m rl_zoo3.{script} --algo {algo} --env {TASKS[algo][0]} -f {logs} {words}", cwd=logs.parent)
