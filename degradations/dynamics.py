"""A body that changes: degradations of the MuJoCo model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation


class _Scaled(DegradationWrapper):
    degradation: ModelScale

    def __init__(self, env: Env, degradation: ModelScale, severity: float, onset: int = 0) -> None:
        super().__init__(env, degradation, severity, onset)
        # Every number of the model, because changing a mass changes quantities that MuJoCo derives from it.
        self._healthy = {name: array.copy() for name, array in _arrays(self._model).items()}

    @property
    def _model(self) -> Any:
        return self.unwrapped.model  # type: ignore[attr-defined]  # `incompatibility` checked that there is one

    def before_reset(self) -> None:
        for name, array in _arrays(self._model).items():
            if not np.array_equal(array, self._healthy[name]):
                array[...] = self._healthy[name]

    def begin(self) -> None:
        self.degradation.scale(self._model, self.severity)

    def close(self) -> None:
        """Leave the model as it was."""
        self.before_reset()
        super().close()


@dataclass(frozen=True, kw_only=True)
class ModelScale(EnvDegradation):
    """Base: some arrays of the model are multiplied by 1 + severity * (factor - 1), from the onset on."""

    wrapper: ClassVar[type[DegradationWrapper]] = _Scaled
    arrays: ClassVar[tuple[str, ...]] = ()
    factor: float = 1.0

    def scale(self, model: Any, severity: float) -> None:
        """Change a MuJoCo model in place."""
        import mujoco

        factor = 1.0 + severity * (self.factor - 1.0)
        for name in self.arrays:
            getattr(model, name)[...] *= factor
        # Derived constants are computed on data of their own: the episode's state must not move.
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments without a MuJoCo model."""
        if hasattr(env.unwrapped, "model") and all(hasattr(env.unwrapped.model, name) for name in self.arrays):
            return None
        return "needs a MuJoCo model, this environment has none"


@dataclass(frozen=True, kw_only=True)
class BodyMass(ModelScale):
    """Masses and inertias of all bodies."""

    kind: ClassVar[str] = "body-mass"
    arrays: ClassVar[tuple[str, ...]] = ("body_mass", "body_inertia")
    factor: float = 2.0


@dataclass(frozen=True, kw_only=True)
class GroundFriction(ModelScale):
    """Friction coefficients of all geoms."""

    kind: ClassVar[str] = "friction"
    arrays: ClassVar[tuple[str, ...]] = ("geom_friction",)
    factor: float = 0.2


@dataclass(frozen=True, kw_only=True)
class ActuatorGain(ModelScale):
    """Gear ratios of all actuators: the force that an action makes."""

    kind: ClassVar[str] = "actuator-gain"
    arrays: ClassVar[tuple[str, ...]] = ("actuator_gear",)
    factor: float = 0.3


def _arrays(model: Any) -> dict[str, np.ndarray]:
    """Return all float arrays of a model that can be written, by name."""
    values = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.flags.writeable
    }
