"""Train a spiking classifier on a folder of recordings or images, epoch by epoch, resumed where it was interrupted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from homeo_rl.errors import UsageError, unknown
from homeo_rl.seeding import derive, generator
from homeo_rl.snn.initial_potentials import parameter_groups
from homeo_rl.snn.losses import LOSSES
from homeo_rl.storage import bundle
from homeo_rl.training.update_guard import guard
from homeo_rl.vision.events import EventFolder, divide
from homeo_rl.vision.images import Cifar, ImageFolder
from homeo_rl.vision.recipes import DATA, RECIPES
from homeo_rl.vision.spiking import INITIALS, Classifier

TESTED = 0.1  # share of each class's recordings that is kept for the test, where a data set has no division of its own

Images = Dataset[tuple[Tensor, int]]


@dataclass(frozen=True, kw_only=True)
class VisionPlan:
    """What is trained. See the flags of ``homeo-rl vision`` for each field; 0 and "" are the recipe's own."""

    recipe: str
    data: Path
    kind: str = ""
    loss: str = ""
    imp: str = "channel"
    steps: int = 0
    epochs: int = 0
    batch: int = 0
    learning_rate: float = 0.0
    width: int = 64
    seed: int = 0
    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise unknown("recipe", self.recipe, RECIPES)
        for what, value, known in (("--kind", self.kind, DATA), ("--loss", self.loss, LOSSES)):
            if value and value not in known:
                raise unknown(what, value, known)
        if self.imp not in set(INITIALS) - {"neuron", "constant"}:
            raise UsageError(f"--imp: expected rest, channel or layer for maps of any size, got {self.imp!r}")


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave: mean loss, and test accuracy after 1, 2, ... steps."""

    epoch: int
    loss: float
    accuracy: list[float]


def train_vision(
    plan: VisionPlan, out: Path, *, on_batch: Callable[[int, int], None] = lambda _a, _b: None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> list[Epoch]:  # fmt: skip
    """Train as ``plan`` says and leave weights and ``epochs.json`` in ``out`` after every epoch.

    ``out`` may hold an earlier call of the same plan, which is resumed. ``on_batch`` is called with the batches done
    and all of this call's epochs.

    Raises UsageError: the data are not as expected, or ``out`` holds something else.
    """
    recipe = RECIPES[plan.recipe]
    steps, epochs = plan.steps or recipe.steps, plan.epochs or recipe.epochs
    loss = LOSSES[plan.loss or recipe.loss]
    training, testing, classes = _datasets(plan, steps)
    sample, _ = training[0]
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(derive(plan.seed, "vision") % 2**63)
    network = recipe.network(classes, sample.shape[-3], steps=steps, initial=plan.imp, width=plan.width)
    network.to(plan.device)
    optimiser = torch.optim.AdamW(
        parameter_groups(network, 1e-2), lr=plan.learning_rate or recipe.learning_rate, foreach=False
    )
    document = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(plan).items()}
    known = _resume(out, document, network, optimiser)
    batch = plan.batch or recipe.batch
    total = (epochs - len(known)) * -(-len(training) // batch)  # type: ignore[arg-type]  # both have a length
    done = 0
    guard(optimiser, network, name="classifier", where=lambda: f"batch {done + 1}", kept="the last epoch is kept")
    for index in range(len(known), epochs):
        for group in optimiser.param_groups:
            group["lr"] = (plan.learning_rate or recipe.learning_rate) * 0.5 * (1 + np.cos(np.pi * index / epochs))
        order = torch.Generator().manual_seed(derive(plan.seed, "order", index) % 2**63)
        torch.manual_seed(derive(plan.seed, "dropout", index) % 2**63)
        losses = []
        network.train()
        for x, y in DataLoader(training, batch, shuffle=True, generator=order, num_workers=plan.workers):
            optimiser.zero_grad()
            now = loss(network(x.to(plan.device)), y.to(plan.device))
            now.backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(float(now.detach()))
            done += 1
            on_batch(done, total)
        accuracy = _accuracy(network.eval(), DataLoader(testing, batch, num_workers=plan.workers), plan.device)
        known.append(Epoch(index + 1, float(np.mean(losses)), accuracy))
        bundle.save(out / "state", _state(network, optimiser), {"history": [asdict(e) for e in known], **document})
        bundle.write_json(out / "epochs.json", {"history": [asdict(epoch) for epoch in known], **document})
        on_epoch(known[-1])
    return known


def _datasets(plan: VisionPlan, steps: int) -> tuple[Images, Images, int]:
    kind = plan.kind or RECIPES[plan.recipe].data
    if kind in ("cifar10", "cifar100"):
        classes = 10 if kind == "cifar10" else 100
        return Cifar(plan.data, classes=classes, train=True), Cifar(plan.data, classes=classes), classes  # type: ignore[arg-type]  # 10 or 100
    if kind == "images":
        parts = [ImageFolder(plan.data / name) for name in ("train", "val")]
        if parts[0].classes != parts[1].classes:
            raise UsageError(f"{plan.data}: expected the same classes in train and val")
        return parts[0], parts[1], len(parts[0].classes)
    folder = EventFolder(plan.data, kind=kind, frames=steps)  # type: ignore[arg-type]  # one of the two that are left
    train, test = divide([label for _, label in folder.files], share=TESTED, rng=generator(plan.seed, "division"))
    if len(train) == 0 or len(test) == 0:
        raise UsageError(f"{plan.data}: expected at least {round(0.5 / TESTED) + 1} recordings of a class")
    return Subset(folder, train.tolist()), Subset(folder, test.tolist()), len(folder.classes)


@torch.no_grad()
def _accuracy(network: Classifier, batches: DataLoader[tuple[Tensor, int]], device: str) -> list[float]:
    right: Any = 0
    seen = 0
    for x, y in batches:
        chosen = network(x.to(device)).cumsum(0).argmax(-1)
        right = right + (chosen == y.to(device)).sum(1)
        seen += len(y)
    return [float(count) / seen for count in right]


def _state(network: Classifier, optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def _resume(out: Path, document: dict[str, Any], network: Classifier, optimiser: torch.optim.Optimizer) -> list[Epoch]:
    if not (out / "state").exists():
        if out.exists() and any(out.iterdir()):
            raise UsageError(f"{out}: expected an empty folder or one of this training; choose another --out")
        return []
    tensors, known = bundle.load(out / "state")
    other = [key for key in document if key not in ("epochs", "workers", "device") and known.get(key) != document[key]]
    if other:
        raise UsageError(
            f"{out}: holds a training with another {other[0]} ({known.get(other[0])}); choose another --out"
        )
    network.load_state_dict({name[8:]: torch.tensor(v) for name, v in tensors.items() if name.startswith("network.")})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, part = name.split(".")
            moments.setdefault(int(index), {})[part] = torch.tensor(value)
    state = optimiser.state_dict()
    optimiser.load_state_dict({**state, "state": moments})
    return [Epoch(**epoch) for epoch in known["history"]]
