"""Which mechanisms the C controller has, and their numbers."""

from dataclasses import dataclass

from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.combined import CombinedMechanism
from homeo_rl.homeostasis.dwam import PaperDWAM
from homeo_rl.homeostasis.dynamic_threshold import BDETT
from homeo_rl.homeostasis.observer import ObserverMechanism, split_observer
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.homeostasis.rate_search import Rehearsing
from homeo_rl.homeostasis.sleep import SleepHomeostat, needs_memory

SUPPORTED = "none, dwam, dwam-paper, bdett, sleep, observer, or some of them joined by a plus (bdett+dwam-paper)"

FORMS = {form: f"HOMEO_FORM_{form.upper()}" for form in ("none", "bias", "gain", "delta", "best")}


@dataclass(frozen=True)
class Mechanism:
    """The parts of a mechanism that the controller runs; None for a part that is not there."""

    bcm: PaperDWAM | None = None  # the rule that changes weights
    energy: BDETT | None = None  # the rule that moves thresholds
    # how a damaged network is repaired; a mechanism that only rehearses has one of form "none"
    sleep: SleepHomeostat | None = None
    observer: ObserverMechanism | None = None  # what replaces broken sensors

    @property
    def rehearsal(self) -> Rehearsing | None:
        """The rule that changes weights, where it finds its learning rate by rehearsal."""
        return self.bcm if isinstance(self.bcm, Rehearsing) else None

    @property
    def awake(self) -> Homeostasis | None:
        """What adapts between sleeps."""
        return self.bcm if self.energy is None else self.energy


def split(plugin: Homeostasis | None) -> Mechanism:
    """Return the parts of a mechanism.

    Raises:
        UsageError: it has a part that the controller does not have.
    """
    observer, plugin = split_observer(plugin)
    if plugin is None:
        return Mechanism(observer=observer)
    sleep = plugin if isinstance(plugin, SleepHomeostat) else None
    awake = sleep.awake if sleep is not None else plugin
    if sleep is not None:
        _require_exported(sleep)
    if sleep is None and needs_memory(plugin):
        sleep = SleepHomeostat(form="none", awake=plugin)
    parts = [awake.thresholds, awake.weights] if isinstance(awake, CombinedMechanism) else [awake]
    bcm, energy = None, None
    for part in parts:
        if isinstance(part, PaperDWAM) and part.compiled == ("bcm",):
            bcm = part
        elif isinstance(part, BDETT) and part.compiled == ("energy",):
            energy = part
        elif part is not None:
            raise UsageError(f"--homeostasis: expected for --to c {SUPPORTED}, got {part.name}; take one of these")
        if part is not None and part.scope != "episode":
            raise UsageError(
                f"--homeostasis: expected for --to c scope=episode, got {part.name} with scope={part.scope}; "
                "homeo_reset begins everything again"
            )
    if energy is not None and isinstance(bcm, Rehearsing):
        raise UsageError(
            "--homeostasis: expected for --to c dwam without bdett, whose thresholds change what rehearsal calls "
            "normal; take dwam, or bdett+dwam-paper"
        )
    return Mechanism(bcm, energy, sleep, observer)


def _require_exported(sleep: SleepHomeostat) -> None:
    """Check that a sleep is one that the controller has. Raises UsageError: another form, or a price of waking."""
    if sleep.form not in FORMS:
        raise UsageError(
            f"--homeostasis: expected for --to c a sleep of form {', '.join(FORMS)}, got {sleep.form}; take sleep"
        )
    plain = SleepHomeostat(form=sleep.form)
    for name in ("write_noise", "pause", "asleep", "ramp"):
        if getattr(sleep, name) != getattr(plain, name):
            raise UsageError(
                f"--homeostasis: expected for --to c a sleep without {name}, which simulates; leave it out"
            )
