"""``homeo-rl vision``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.flags import Common, Positional, Progress

COMMAND = Command(TRAIN, 4, "train a spiking classifier of images or events")


@dataclass(frozen=True, kw_only=True)
class Vision(Common):
    """Train a spiking classifier on a folder of event recordings or images; the same command goes on."""

    recipe: Positional[str]
    """vgg11-dvs128 (event cameras) or sew-resnet18 (images)."""
    data: Path
    """The unpacked data set."""
    out: Path
    """Where weights and accuracies go."""
    kind: str = ""
    """What the folder holds: cifar10-dvs, n-caltech101, cifar10, cifar100 or images (train and val, as ImageNet);
    by default what the recipe is for."""
    loss: str = ""
    """sdt, tet, tet-s or lts; by default the recipe's."""
    imp: str = "channel"
    """Initial potentials: rest, channel or layer."""
    steps: int = 0
    """Spike steps, and frames of a recording; 0 is the recipe's."""
    epochs: int = 0
    """0 is the recipe's."""
    batch: int = 0
    """Images of a gradient step; 0 is the recipe's."""
    learning_rate: float = 0.0
    """At the start, falling to 0 as a cosine; 0 is the recipe's."""
    width: int = 64
    """Channels of the first layer."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "cpu"
    """cpu or cuda."""
    workers: int = 0
    """Processes that read data."""
    progress: Progress = True
    """Show progress."""


def run(args: Vision, words: list[str]) -> dict[str, Any]:
    """Train a spiking classifier."""
    from homeo_rl.cli.console import Bars
    from homeo_rl.workflows.vision import Epoch, VisionPlan, train_vision

    plan = VisionPlan(
        recipe=args.recipe, data=args.data, kind=args.kind, loss=args.loss, imp=args.imp, steps=args.steps,
        epochs=args.epochs, batch=args.batch, learning_rate=args.learning_rate, width=args.width, seed=args.seed,
        device=args.device, workers=args.workers,
    )  # fmt: skip
    with Bars(enabled=args.progress).shown() as bars:

        def count(done: int, total: int) -> None:
            if done == 1:
                bars.start(f"{args.recipe} on {args.data.name}", total)
            bars.reach(done)

        def told(epoch: Epoch) -> None:
            each = ", ".join(f"{100 * value:.1f}" for value in epoch.accuracy)
            bars.note(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, test accuracy by time step {each} %")

        epochs = train_vision(plan, args.out, on_batch=count, on_epoch=told)
    print(f"weights: {args.out / 'state'}; accuracies: {args.out / 'epochs.json'}")
    return {"epochs": [asdict(epoch) for epoch in epochs]}
