"""Saves a training between iterations, restores it, and stops it when a signal asks for that."""

import signal
from collections.abc import Callable
from dataclasses import replace

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from homeo_rl.agents.controller import save_controller
from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.errors import StorageFault
from homeo_rl.processes.signals import Signals, Stopped
from homeo_rl.run import Run
from homeo_rl.training.resume.checkpoints import Checkpoints
from homeo_rl.training.resume.snapshot import Snapshot, capture, restore, restore_generators


class Checkpointer:
    """What a training calls before each rollout.

    Attributes:
        file_sizes: sizes (bytes) that growing files had at the checkpoint that was restored.
        exact: whether a restored training is the same to the last bit as one that was never interrupted.
    """

    def __init__(
        self, model: BaseAlgorithm, callbacks: list[BaseCallback], run: Run, *, every: int, stop_at: int | None = None
    ) -> None:
        self.model, self.callbacks, self.run, self.every = model, callbacks, run, every
        self.stop_at = stop_at
        self.checkpoints = Checkpoints(run.path / "checkpoints")
        self.signals = Signals(self._urgent)
        self.exact = True
        self.file_sizes: dict[str, int] = {}
        self._resumed: Snapshot | None = None
        self._latest: Snapshot | None = None
        self._sizes: dict[str, int] = {}
        self._next = every

    def restore_latest(self, note: Callable[[str], None]) -> bool:
        """Restore the training from its newest sound checkpoint; return whether there is one.

        Raises StorageFault: there are checkpoints and none is sound.
        """
        newest = self.checkpoints.load()
        if newest is None:
            return False
        path, snapshot = newest
        self.exact = restore(self.model, self.callbacks, snapshot)
        self.checkpoints.load_ring(self.model, snapshot)
        self._resumed, self.file_sizes = snapshot, snapshot.document["files"]
        self._next = self.model.num_timesteps + self.every
        note(f"{self.run.path}: going on at step {self.model.num_timesteps} ({path.name})")
        if not self.exact:
            note(
                f"{self.run.spec.env} did not come back to the same observation: the rest is sound, but not what an "
                "uninterrupted training would have given"
            )
        return True

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the files that only grow."""
        return {path.name: path.stat().st_size for path in sorted(self.run.path.glob("*.monitor.csv"))}

    def __call__(self) -> None:
        """Save or stop where that is due: no iteration is half done now."""
        self._restore_generators()
        steps = self.model.num_timesteps
        if self.stop_at is not None and steps >= self.stop_at:
            self.signals.ask(signal.SIGTERM)
        if self.signals.number is not None:
            if steps:
                self._sizes = self.sizes
                self.save(capture(self.model, self.callbacks))
            raise Stopped(self.signals.number)
        due = self.every > 0 and steps >= self._next
        if due or isinstance(self.model, OnPolicyAlgorithm):
            self._latest, self._sizes = capture(self.model, self.callbacks), self.sizes
        if due:
            assert self._latest is not None
            self.save(self._latest)
            self._next = steps + self.every

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, and the policy as it is then.

        Raises StorageFault: the disk refused; earlier checkpoints are as they were.
        """
        self.checkpoints.save(self.model, snapshot, self._sizes)
        save_controller(self.run, policy_of(self.model).controller())
        self.run = Run(self.run.path, replace(self.run.spec, steps=snapshot.document["steps"]))
        self.run.write_spec()

    def end(self) -> Snapshot:
        """Return where the training is after its last iteration: a longer one resumes there."""
        self._restore_generators()  # where nothing was left to learn
        self._sizes = self.sizes
        return capture(self.model, self.callbacks)

    def keep(self, end: Snapshot) -> None:
        """Write the end of the training as the one checkpoint that remains.

        Raises StorageFault: the disk refused; earlier checkpoints are as they were.
        """
        self.checkpoints.save(self.model, end, self._sizes, kept=1)

    def _restore_generators(self) -> None:
        """Restore them last: whatever was set up since the checkpoint was read may have drawn from them."""
        if self._resumed is not None:
            restore_generators(self.model, self._resumed)
            self._resumed = None

    def _urgent(self, number: int) -> None:
        """Write the beginning of an iteration that takes too long, and stop."""
        latest, self._latest = self._latest, None
        if latest is not None and latest.document["steps"]:
            try:
                self.checkpoints.save(self.model, latest, self._sizes)
            except StorageFault as fault:
                raise Stopped(number) from fault
        raise Stopped(number)
