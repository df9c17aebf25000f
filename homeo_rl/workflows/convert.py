"""Convert a trained run into a run of spiking neurons that takes the same actions (`homeo_rl.conversion`)."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from homeo_rl.agents.controller import Controller, load_controller, save_controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.agents.onnx_graph import OnnxPolicy
from homeo_rl.agents.onnx_mlp import mlp_of
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.conversion import FORMS, NEURONS, Converted, Form, Neuron
from homeo_rl.conversion.certificate import Certificate
from homeo_rl.conversion.levels import Choice
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.errors import UsageError, unknown
from homeo_rl.run import Run, versions
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.snn.spike_accumulation import require_levels, steps_of
from homeo_rl.spec import EncoderSpec, NetworkSpec, ReadoutSpec
from homeo_rl.storage import bundle
from homeo_rl.workflows.certify import Played, certify, measure_kept, play
from homeo_rl.workflows.finetune import FineTuned, finetune, levels_for

METHODS = ("pascal", "rate")
Start = Callable[[str, int], None]

UNBOUNDED = 64.0
"""Observations that are not normalised and have no bounds are planned to be no larger, in the dyadic form."""


@dataclass(frozen=True, kw_only=True)
class ConversionPlan:
    """How a run is converted.

    ``form`` and ``neuron`` are those of `homeo_rl.conversion.Converted`; method "rate" is the control, plain
    integrate-and-fire neurons averaged over ``steps`` steps. ``episodes`` pairs of episodes are played for the
    certificate, for which a time step lasts ``step_seconds``. A ReLU policy is given QCFS activations of ``levels`` and
    ``finetune_steps`` of behaviour cloning first; levels () are chosen for ``budget_steps`` time steps a decision.
    Neuron None is pascal, of a ReLU policy radix; budget 0 is 16 steps, of radix neurons 8.
    """

    method: Literal["pascal", "rate"] = "pascal"
    form: Form = "counts"
    neuron: Neuron | None = None
    steps: int = 16
    episodes: int = 10
    step_seconds: float = 1e-3
    finetune_steps: int = 16_000
    levels: tuple[int, ...] = ()
    budget_steps: int = 0
    which: str = "policy"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("--method", self.method, METHODS), ("--form", self.form, FORMS), ("--neuron", self.neuron, NEURONS),
        ):  # fmt: skip
            if value not in known and value is not None:
                raise unknown(what, value, known)
        if not 1 <= self.steps <= 1024:
            raise UsageError(f"--spike-steps: expected 1 to 1024, got {self.steps}")
        if self.finetune_steps < 0:
            raise UsageError(f"--finetune-steps: expected 0 or more, got {self.finetune_steps}")
        if self.episodes < 0 or not self.step_seconds > 0:
            raise UsageError(
                f"--episodes: expected 0 or more, got {self.episodes}; --step-time: expected more than 0, got "
                f"{1e3 * self.step_seconds}"
            )


FINETUNE_EPISODES = 20  # episodes of the ReLU policy whose states it is fine-tuned on, and of the student
CONTROLS = (4, 16, 64)  # time steps of the plain rate conversions whose returns stand in the certificate
BUDGETS = (4, 8, 16)  # time steps at which a certificate says what is kept of a ReLU policy


def convert(
    run: Run, plan: ConversionPlan, out: Path, *, command: str = "", start: Start = lambda what, total: None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Run, Certificate | None]:  # fmt: skip
    """Write a new run at ``out`` whose policy is that of ``run``, converted, with its certificate.

    ``certificate.json`` and ``certificate.md`` lie in the new run, unless ``plan.episodes`` is 0. ``start`` receives
    the name and the number of parts of every stage; ``advance`` is called when a part is done.

    Raises UsageError: the policy can have no QCFS activations, or ``out`` is taken; nothing was written.
    """
    load_modules(run.spec.modules)
    original = load_controller(run, which=plan.which)
    original = source = mlp_of(original) if isinstance(original.network, OnnxPolicy) else original
    tuned_first = _needs_tuning(original, plan)
    plan = replace(plan, neuron=plan.neuron or ("radix" if tuned_first else "pascal"))
    require_levels(plan.levels, plan.neuron or "pascal")
    controls: dict[str, Controller] = {}
    tuning = Tuning(run, original, plan, start, advance) if tuned_first else None
    if tuning is not None:
        budget = plan.budget_steps or (8 if plan.neuron == "radix" else 16)
        tuned, choice = tuning.fit(budget, plan.levels)
        controls["the network before fine-tuning"] = original
        source = tuned.controller
    controller = convert_controller(run, source, plan)
    compared = [controller]
    if tuning is not None and plan.episodes and plan.method == "pascal":
        others = [other for other in BUDGETS if plan.levels or other != budget]
        compared += [convert_controller(run, one, plan) for one in tuning.fit_all(others)]
    result = Run.create(
        out,
        replace(
            run.spec, origin="convert", controller=controller.spec, source=str(run.path), command=command,
            versions=versions(), agent=f"{run.spec.agent}-{plan.method}",
        ),
    )  # fmt: skip
    save_controller(result, controller)
    if tuning is not None:
        errors = {"steps": plan.finetune_steps, "first_error": tuned.first_error, "last_error": tuned.last_error}
        bundle.write_json(result.path / "finetuning.json", errors | {"levels": choice and choice._asdict()})
    if plan.episodes == 0:
        return result, None
    controls |= {
        f"rate conversion, T = {steps}": convert_controller(run, source, replace(plan, method="rate", steps=steps))
        for steps in CONTROLS
    }
    start("episodes of the certificate", plan.episodes * (2 + len(controls)))
    certificate = certify(
        run, source, controller, episodes=plan.episodes, step_seconds=plan.step_seconds, controls=controls,
        on_episode=advance,
    )  # fmt: skip
    if tuning is not None and plan.method == "pascal":
        start("paired episodes", plan.episodes * (1 + len(compared)))
        kept = measure_kept(run, original, compared, plan.episodes, advance)
        certificate = replace(certificate, kept=tuple(sorted(kept, key=lambda one: one.time_steps)))
    document = {**asdict(certificate), "exact": certificate.exact, "latency_seconds": certificate.latency}
    document |= dict(zip(("energy_trained_joules", "energy_converted_joules"), certificate.energy, strict=True))
    bundle.write_json(result.path / "certificate.json", document)
    (result.path / "certificate.md").write_text(certificate.markdown())
    return result, certificate


def _needs_tuning(source: Controller, plan: ConversionPlan) -> bool:
    """Whether it is a network that is given QCFS activations first."""
    return (
        isinstance(source.network, MLPNetwork) and source.network.spec.activation != "qcfs" and plan.finetune_steps > 0
    )


class Tuning:
    """Gives a ReLU policy QCFS activations: levels for a number of time steps, then behaviour cloning."""

    def __init__(
        self, run: Run, teacher: Controller, plan: ConversionPlan, start: Start, advance: Callable[[], None]
    ) -> None:
        self.run, self.teacher, self.plan, self.start, self.advance = run, teacher, plan, start, advance
        start("episodes of the policy", FINETUNE_EPISODES)
        self.states = _states(play(run, teacher, "finetune", FINETUNE_EPISODES, advance))

    def fit(self, budget: int, levels: tuple[int, ...] = ()) -> tuple[FineTuned, Choice | None]:
        """Return a student, and how its levels were chosen. Raises UsageError: the budget is too small."""
        neuron = self.plan.neuron or "pascal"
        choice = None if levels else levels_for(self.teacher, self.states, budget, neuron=neuron)
        self.start(f"fine-tuning for {budget} time steps" if choice else "fine-tuning", self.plan.finetune_steps)
        tuned = finetune(
            self.teacher, self.states, lambda student: _states(play(self.run, student, "student", FINETUNE_EPISODES)),
            levels=levels if choice is None else choice.levels, steps=self.plan.finetune_steps, on_step=self.advance,
        )  # fmt: skip
        return tuned, choice

    def fit_all(self, budgets: Sequence[int]) -> list[Controller]:
        """Return students for these numbers of time steps, without those that are too few for the network."""
        students = []
        for budget in budgets:
            try:
                students.append(self.fit(budget)[0].controller)
            except UsageError:
                continue  # more hidden layers than steps
        return students


def _states(played: list[Played]) -> torch.Tensor:
    return torch.as_tensor(np.concatenate([episode.observations for episode in played]))


def _describe(source: Controller) -> str:
    network = source.spec.network
    if network.external is not None:
        return source.kind
    return f"{network.body} with {network.activation if network.body == 'mlp' else network.neuron.kind}"


def convert_controller(run: Run, source: Controller, plan: ConversionPlan) -> Controller:
    """Return the policy ``source`` of ``run``, converted.

    Raises UsageError: it has no QCFS activations, or levels that the neuron does not have.
    """
    network = source.network
    if not isinstance(network, MLPNetwork) or network.spec.activation != "qcfs":
        raise UsageError(
            f"{run.path}: expected a policy with QCFS activations, got {_describe(source)}; "
            "train one with --agent qcfs, or take a ReLU policy (--agent mlp, or a .zip, .onnx or .safetensors "
            "file) and --finetune-steps above 0"
        )
    if plan.method == "pascal":
        require_levels(network.spec.levels_of_layers, plan.neuron or "pascal")
    spec = replace(source.spec, network=_spec_of(network.spec, plan))
    controller = Controller(spec)
    assert isinstance(controller.network, PascalNetwork)
    controller.normaliser.load_state_dict(source.normaliser.state_dict())
    _fill(controller.network, network, most=source.spec.clip if source.spec.normalise else _largest_entry(run))
    return controller.eval().requires_grad_(False)


def _largest_entry(run: Run) -> float:
    """Return the largest absolute value of an observation that the dyadic form plans for: the space's, where it tells.

    Where it does not, sums of entries beyond this may round as all floating-point numbers do.
    """
    with closing(make_env(run.spec.env, run.spec.env_kwargs)) as env:
        bounds = np.abs([env.observation_space.low, env.observation_space.high])  # type: ignore[attr-defined]  # a Box
    return float(max(bounds.max(), 1.0)) if np.isfinite(bounds).all() and bounds.max() < UNBOUNDED else UNBOUNDED


def _spec_of(network: NetworkSpec, plan: ConversionPlan) -> NetworkSpec:
    rate, neuron = plan.method == "rate", plan.neuron or "pascal"
    steps = plan.steps if rate else max(sum(steps_of(list(network.levels_of_layers), neuron)), 1)
    return replace(
        network, body="pascal", form="rate" if rate else plan.form, accumulator=neuron, steps=steps,
        encoder=EncoderSpec(kind="current"), readout=ReadoutSpec(kind="membrane"), activation="relu",
    )  # fmt: skip


@torch.no_grad()
def _fill(target: PascalNetwork, source: MLPNetwork, *, most: float) -> None:
    """Give the converted network its weights and amplitudes."""
    linears = [layer for layer in source.layers if isinstance(layer, nn.Linear)]
    activations = [part for part in source.activations if isinstance(part, QCFS)]
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = [(layer.weight, layer.bias) for layer in linears]
    steps = [float(activation.step(layer.weight)) for activation, layer in zip(activations, linears, strict=False)]
    if target.spec.form == "dyadic":
        chain: list[nn.Module] = [part for pair in zip(linears, activations, strict=False) for part in pair]
        exact = Converted(
            nn.Sequential(*chain, linears[-1]).eval(),
            form="dyadic",
            example=torch.zeros(1, source.spec.inputs),
            most=most,
        )
        constants = exact.constants()
        pairs = [(part["weight"], part["bias"]) for part in constants[::2]]
        steps = [float(part["step"]) for part in constants[1::2]]
    for layer, (weight, bias) in zip(target.layers, pairs, strict=True):
        assert isinstance(layer, nn.Linear)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    target.amplitudes.copy_(torch.tensor(steps, dtype=torch.float64))
