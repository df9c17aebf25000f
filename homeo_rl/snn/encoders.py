"""From observation entries [B, N_in] to spike trains or currents [B, T, N_enc]."""

import torch
from torch import Generator, Tensor, nn

from homeo_rl.snn.surrogates import straight_through
from homeo_rl.spec import EncoderSpec

REGULAR_THRESHOLD = 0.999  # threshold and reset of the regular encoder's integrator (PopSAN)
_LEAST_STD = 1e-2  # learned widths are held above this: a unit of width 0 divides by 0


def uniform(shape: tuple[int, ...], like: Tensor, generator: Generator | None, noise: Tensor | None) -> Tensor:
    """Return uniform numbers in [0, 1): ``noise`` if it is given, else draws from ``generator`` (None: torch's own)."""
    if noise is not None:
        if noise.shape != shape:
            raise ValueError(f"encoder noise: expected shape {tuple(shape)}, got {tuple(noise.shape)}")
        return noise.to(like)
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


class Encoder(nn.Module):
    """Base: ``forward(x, steps)``; ``stochastic`` encoders also take the randomness, as a generator or as numbers.

    Every encoder is a smooth map of the observation, `activity`, and then spikes (or a current) whose derivative passes
    straight through; what a loss says of step t reaches the activity times
    `step_gradients`. Compiled code uses the parts.
    """

    stochastic = False

    def activity(self, x: Tensor) -> Tensor:
        """Return what the spikes are made of [B, N_enc]: rates, or the growth of an integrator a step."""
        raise NotImplementedError

    def step_gradients(self, steps: int) -> list[float]:
        """Return the derivative of the train at each step with respect to the activity, spikes passing straight."""
        return [1.0] * steps

    def forward(
        self, x: Tensor, steps: int, *, generator: Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Encode ``x`` [B, N_in] as [B, T, N_enc] with T = ``steps``: the activity itself, or spikes drawn from it."""
        train = self.activity(x).unsqueeze(1).expand(-1, steps, -1)
        if not self.stochastic:
            return train
        draws = uniform(train.shape, train, generator, noise)
        return straight_through(train, (draws < train).to(x.dtype))


class PopulationEncoder(Encoder):
    """Gaussian receptive fields with learnable means and widths (Tang et al., CoRL 2020).

    Activity A = exp(-(x - mean)^2 / (2 std^2)) for each of ``size`` units per entry. Regular: an integrator adds A a
    step, spikes above 0.999 and subtracts 0.999. Poisson: a spike with probability A. The gradient passes straight
    through the spikes.
    """

    def __init__(self, inputs: int, spec: EncoderSpec) -> None:
        super().__init__()
        means = torch.linspace(-spec.span, spec.span, spec.size) if spec.size > 1 else torch.zeros(1)
        self.mean = nn.Parameter(means.repeat(inputs, 1))
        self.std = nn.Parameter(torch.full((inputs, spec.size), spec.std))
        self.stochastic = spec.kind == "population-poisson"

    def activity(self, x: Tensor) -> Tensor:
        """Return the activities A [B, N_in * size]."""
        distance = x.unsqueeze(-1) - self.mean
        std = self.std.clamp_min(_LEAST_STD)
        return torch.exp(-0.5 * distance.square() / std.square()).flatten(1)

    def step_gradients(self, steps: int) -> list[float]:
        """Return 1 + r + ... + r^(t-1), r = 1 - threshold: a spike lowers the potential that it came from."""
        kept = 1.0 - REGULAR_THRESHOLD
        return [1.0] * steps if self.stochastic else [sum(kept**k for k in range(t + 1)) for t in range(steps)]

    def forward(
        self, x: Tensor, steps: int, *, generator: Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Encode ``x`` [B, N_in]."""
        if self.stochastic:
            return super().forward(x, steps, generator=generator, noise=noise)
        activity = self.activity(x)
        potential, outputs = torch.zeros_like(activity), []
        for _ in range(steps):
            potential = potential + activity
            spikes = straight_through(potential, (potential > REGULAR_THRESHOLD).to(x.dtype))
            potential = potential - REGULAR_THRESHOLD * spikes
            outputs.append(spikes)
        return torch.stack(outputs, 1)


class CurrentEncoder(Encoder):
    """The observation itself as a constant input current."""

    def activity(self, x: Tensor) -> Tensor:
        """Return the observation."""
        return x


class BernoulliEncoder(Encoder):
    """A spike with probability clip(x / span, 0, 1); ``signed`` gives positive and negative parts a line each."""

    stochastic = True

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.span, self.signed = spec.span, spec.signed

    def activity(self, x: Tensor) -> Tensor:
        """Return the rates [B, N_enc]."""
        rate = torch.cat([x, -x], 1) if self.signed else x
        return (rate / self.span).clamp(0.0, 1.0)


def build_encoder(inputs: int, spec: EncoderSpec) -> Encoder:
    """Build the encoder that ``spec`` describes."""
    if spec.kind == "current":
        return CurrentEncoder()
    if spec.kind == "bernoulli":
        return BernoulliEncoder(spec)
    return PopulationEncoder(inputs, spec)
