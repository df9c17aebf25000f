"""What sleep has to beat: three plain ways to repair a network offline, with the self-test and the schedule of sleep.

Each is an arm of its own. They may write what sleep may: synapses that are left, of neurons that are alive.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from homeo_rl.homeostasis.sleep import Form, SleepHomeostat

_FIXED = {"words": False}
"""Fields that an arm does not set."""


@dataclass(frozen=True, kw_only=True)
class WeightCopyRepair(SleepHomeostat):
    """Write back a copy of the trained weights that was stored in a few bits each.

    Attributes:
        bits: of a weight (`homeo_rl.homeostasis.weight_copy`).
    """

    name: ClassVar[str] = "weight-copy"
    needs: ClassVar[str] = "copy (PopSAN: 79 kB), and memory for the self-test; 0.01 s a repair"
    forms: ClassVar[tuple[str, ...]] = ("copy",)

    form: Form = field(default="copy", metadata=_FIXED)
    passes: int = field(default=1, metadata=_FIXED)
    dreams: int = field(default=0, metadata=_FIXED)
    bits: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits < 1:
            raise ValueError(f"bits: expected 1 to 16, got {self.bits!r}")


@dataclass(frozen=True, kw_only=True)
class RidgeRepair(SleepHomeostat):
    """Fit each neuron's remembered mean current on the inputs as they are now, by ridge regression.

    Changes are counted from the weights as they are; synapses that are gone are left out. The remembered currents are
    stored beside the memory of sleep, a float32 a neuron and observation.

    Attributes:
        penalty: of a squared change, a share of the number of observations.
    """

    name: ClassVar[str] = "ridge"
    needs: ClassVar[str] = "memory and currents (PopSAN: 85 + 458 kB); 0.1 s a repair"
    forms: ClassVar[tuple[str, ...]] = ("ridge",)

    form: Form = field(default="ridge", metadata=_FIXED)
    passes: int = field(default=1, metadata=_FIXED)
    dreams: int = field(default=0, metadata=_FIXED)
    bits: int = field(default=0, metadata=_FIXED)
    penalty: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalty > 0:
            raise ValueError(f"penalty: expected a number above 0, got {self.penalty!r}")


@dataclass(frozen=True, kw_only=True)
class FinetuneRepair(SleepHomeostat):
    """Train on the remembered actions and hidden rates by surrogate gradients, with Adam.

    The loss is the mean squared error of the network's outputs and that of every hidden layer's mean outputs.

    Attributes:
        steps: gradient steps, each on the whole memory.
        rate: learning rate of Adam.
    """

    name: ClassVar[str] = "finetune"
    needs: ClassVar[str] = "memory (PopSAN: 85 kB), gradients (1.5 MB); 4 s a repair"
    forms: ClassVar[tuple[str, ...]] = ("finetune",)

    form: Form = field(default="finetune", metadata=_FIXED)
    passes: int = field(default=1, metadata=_FIXED)
    dreams: int = field(default=0, metadata=_FIXED)
    bits: int = field(default=0, metadata=_FIXED)
    steps: int = 150
    rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps != int(self.steps) or self.steps < 1:
            raise ValueError(f"steps: expected a whole number from 1 on, got {self.steps!r}")
        object.__setattr__(self, "steps", int(self.steps))  # words of an arm are read as floats
        if not self.rate > 0:
            raise ValueError(f"rate: expected a number above 0, got {self.rate!r}")
