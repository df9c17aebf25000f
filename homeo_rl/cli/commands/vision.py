"""The command ``homeo-rl vision``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import make_plan
from homeo_rl.cli.flags import Positional, Short, WithProgress

COMMAND = Command(TRAIN, 4, "train a spiking classifier of images or events")


@dataclass(frozen=True, kw_only=True)
class Vision(WithProgress):
    """Train a spiking classifier on event recordings or images; the same command resumes an interrupted training."""

    recipe: Positional[str]
    """vgg11-dvs128 (event cameras) or sew-resnet18 (images)."""
    data: Path
    """Folder of the unpacked data set."""
    out: Path
    """Folder for weights and accuracies."""
    kind: str = ""
    """Format of the data: cifar10-dvs, n-caltech101, cifar10, cifar100 or images (folders train and val, as ImageNet);
    by default that of the recipe."""
    loss: str = ""
    """sdt, tet, tet-s or lts; by default the recipe's."""
    imp: str = "channel"
    """Initial membrane potentials: rest, channel or layer."""
    spike_steps: Annotated[int, Short(("--steps",))] = 0
    """Spike steps, and frames of a recording; 0 is the recipe's."""
    epochs: int = 0
    """Number of epochs; 0 is the recipe's."""
    batch: int = 0
    """Images per gradient step; 0 is the recipe's."""
    learning_rate: float = 0.0
    """Initial learning rate, with cosine decay to 0; 0 is the recipe's."""
    width: int = 64
    """Channels of the first layer."""
    seed: int = 0
    """Seed of all random numbers."""
    device: str = "cpu"
    """cpu or cuda."""
    workers: int = 0
    """Number of processes that read data."""


def run(args: Vision, words: list[str]) -> dict[str, Any]:
    """Train a spiking classifier."""
    from homeo_rl.cli.console import Bars
    from homeo_rl.workflows.vision import Epoch, VisionPlan, train_vision

    plan = make_plan(VisionPlan, args, steps=args.spike_steps)
    with Bars(enabled=args.progress).show() as bars:

        def count(done: int, total: int) -> None:
            if done == 1:
                bars.start(f"{args.recipe} on {args.data.name}", total)
            bars.reach(done)

        def report(epoch: Epoch) -> None:
            each = ", ".join(f"{100 * value:.1f}" for value in epoch.accuracy)
            bars.note(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, test accuracy by time step {each} %")

        epochs = train_vision(plan, args.out, on_batch=count, on_epoch=report)
    print(f"weights: {args.out / 'state'}; accuracies: {args.out / 'epochs.json'}")
    return {"epochs": [asdict(epoch) for epoch in epochs]}
