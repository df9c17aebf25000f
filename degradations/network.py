"""Chips that fail: degradations of weights and neurons. Shapes: a layer's weights are [N_out, N_in]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from homeo_rl.degradations.protocol import NetworkDegradation
from homeo_rl.numerics.limits import LIMIT

if TYPE_CHECKING:  # torch takes seconds to load, which a wrong suite should not wait for
    from torch import Tensor

    from homeo_rl.snn.state import LayerWeights, Weights


@dataclass(frozen=True, kw_only=True)
class GaussianWeights(NetworkDegradation):
    """Every weight += N(0, severity * std), drawn once."""

    kind: ClassVar[str] = "weights-gaussian"
    std: float = 0.05

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Add the noise."""
        return tuple(w._replace(weight=w.weight + _normal(rng, w.weight, severity * self.std)) for w in weights)


@dataclass(frozen=True, kw_only=True)
class ZeroWeights(NetworkDegradation):
    """Exactly int(severity * fraction * n) of the n weights of each layer become 0."""

    kind: ClassVar[str] = "weights-zero"
    fraction: float = 0.3

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Delete the weights."""
        layers = []
        for layer in weights:
            weight = layer.weight.clone()
            lost = rng.choice(weight.numel(), int(severity * self.fraction * weight.numel()), replace=False)
            weight[np.divmod(lost, weight.shape[1])] = 0.0
            layers.append(layer._replace(weight=weight))
        return tuple(layers)


@dataclass(frozen=True, kw_only=True)
class EightBitWeights(NetworkDegradation):
    """Weights and biases round(255 w / max(abs w, abs b)), one scale for the network.

    ``rescale`` divides by the scale again, which is nearly harmless; without it the thresholds keep their old scale
    while currents grow by it, which is not. Severity mixes the quantised weights with the trained ones.
    """

    kind: ClassVar[str] = "weights-8bit"
    rescale: bool = True

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Quantise."""
        largest = max(float(part.abs().max()) for w in weights for part in (w.weight, w.bias))
        scale = 255.0 / largest if largest > 0 else 1.0

        def quantise(value: Tensor) -> Tensor:
            level = (value * scale).round().clamp(-255.0, 255.0)
            level = level / scale if self.rescale else level
            return level if severity == 1.0 else value + severity * (level - value)

        return tuple(w._replace(weight=quantise(w.weight), bias=quantise(w.bias)) for w in weights)


@dataclass(frozen=True, kw_only=True)
class ScaledWeights(NetworkDegradation):
    """Every weight is multiplied by 1 + severity * (factor - 1)."""

    kind: ClassVar[str] = "weights-scale"
    factor: float = 0.8

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Scale the weights."""
        factor = 1.0 + severity * (self.factor - 1.0)
        return tuple(w._replace(weight=w.weight * factor) for w in weights)


@dataclass(frozen=True, kw_only=True)
class DriftingWeights(NetworkDegradation):
    """Weights that change while the robot acts: a random walk and a decay towards 0.

    After n decisions the walk's standard deviation is severity * std * sqrt(n / 1000), and the decay has multiplied
    the weights by (1 - severity * decay)^(n / 1000). Both advance once in ``period`` decisions.
    """

    kind: ClassVar[str] = "weights-drift"
    period: ClassVar[int] = 20
    std: float = 0.05
    decay: float = 0.0

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Nothing has drifted yet."""
        return weights

    def advance(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Drift on."""
        share = self.period / 1000.0
        kept = (1.0 - severity * self.decay) ** share
        size = severity * self.std * share**0.5
        return tuple(w._replace(weight=w.weight * kept + _normal(rng, w.weight, size)) for w in weights)


@dataclass(frozen=True, kw_only=True)
class FlippedBits(NetworkDegradation):
    """Single-event upsets: one bit flips in int(severity * fraction * n) of the n weights of each layer.

    Weights and bits are drawn once. The memory has words of ``word``, "int8" (two's complement, the largest weight of a
    layer is 127) or "float32". Weights without a flip keep every bit, also where their words have 8. A float32 word
    that holds no finite number afterwards reads 0, and one that is beyond `LIMIT` reads the limit.
    """

    kind: ClassVar[str] = "weights-bitflips"
    fraction: float = 0.01
    word: Literal["int8", "float32"] = "int8"

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Flip the bits."""
        layers = []
        for layer in weights:
            values = layer.weight.detach().cpu().numpy().ravel().copy()
            places = rng.choice(values.size, int(severity * self.fraction * values.size), replace=False)
            values[places] = self._flip(values, places, rng)
            layers.append(layer._replace(weight=layer.weight.new_tensor(values).reshape(layer.weight.shape)))
        return tuple(layers)

    def _flip(self, values: np.ndarray, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the weights of ``places`` with a flipped bit each."""
        if self.word == "float32":
            bits = np.uint32(1) << rng.integers(32, size=places.size, dtype=np.uint32)
            flipped = (values[places].view(np.uint32) ^ bits).view(np.float32)
            return np.where(np.isfinite(flipped), np.clip(flipped, -LIMIT, LIMIT), np.float32(0.0))
        scale = float(np.abs(values).max(initial=0.0)) / 127.0 or 1.0
        levels = np.rint(values[places] / scale).astype(np.int8)
        flipped = levels ^ (np.uint8(1) << rng.integers(8, size=places.size, dtype=np.uint8)).view(np.int8)
        errors = scale * (flipped.astype(np.float32) - levels.astype(np.float32))
        changed: np.ndarray = values[places] + errors.astype(values.dtype)
        return changed


@dataclass(frozen=True, kw_only=True)
class DeadNeurons(NetworkDegradation):
    """int(severity * fraction * N) of the N neurons of each hidden layer never fire."""

    kind: ClassVar[str] = "dead-neurons"
    fraction: float = 0.2

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Silence the neurons."""
        hidden = [w._replace(alive=1.0 - _chosen(w, severity * self.fraction, rng)) for w in weights[:-1]]
        return (*hidden, weights[-1])


@dataclass(frozen=True, kw_only=True)
class StuckNeurons(NetworkDegradation):
    """int(severity * fraction * N) of the N neurons of each hidden layer fire at every spike step (an MLP's give 1)."""

    kind: ClassVar[str] = "stuck-neurons"
    fraction: float = 0.1

    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Let the neurons fire."""
        return (
            *(w._replace(stuck=_chosen(w, severity * self.fraction, rng)) for w in weights[:-1]),
            weights[-1],
        )


def _normal(rng: np.random.Generator, like: Tensor, std: float) -> Tensor:
    return like.new_tensor(rng.standard_normal(tuple(like.shape), dtype=np.float32) * np.float32(std))


def _chosen(layer: LayerWeights, fraction: float, rng: np.random.Generator) -> Tensor:
    """Return 1 for exactly int(fraction * N) neurons of a layer, else 0."""
    size = layer.bias.shape[0]
    flags = layer.bias.new_zeros(size)
    flags[rng.choice(size, int(fraction * size), replace=False)] = 1.0
    return flags
