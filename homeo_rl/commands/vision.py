"""``homeo-rl vision``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from homeo_rl.flags import Vision


def run(args: Vision, words: list[str]) -> dict[str, Any]:
    """Train a spiking classifier."""
    from homeo_rl.console import Bars
    from homeo_rl.training.vision import Epoch, VisionPlan, train_vision

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
