"""Flags of the commands that make a run of something else than training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homeo_rl.flags.common import Common, Flag, Positional, Progress, Words


@dataclass(frozen=True, kw_only=True)
class Import(Common):
    """Make a run of a policy that somebody published."""

    kind: Positional[Literal["popsan", "san", "nir", "sb3-zip"]]
    """popsan, san, nir (a graph of neurons), or sb3-zip: what Stable-Baselines3 saved, or train left beside a run."""
    file: Positional[Path]
    """The published weights (.npz), the graph, or the zip; nothing in it is unpickled."""
    env: str
    """Environment that it drives."""
    out: Path
    """Where the run goes."""
    agent: str = ""
    """Architecture that the weights of a zip are for: mlp (the default), or the --agent that train was given."""
    agent_kwargs: Words = ()
    """Fields of its network, name:value (activation:relu steps:8); hidden widths are by default the weights'."""
    normalize_from: Path | None = None
    """Statistics of the VecNormalize that an sb3-zip was trained behind: vecnormalize.pkl (nothing in it is executed),
    or an .npz or .safetensors with mean, var, clip_obs, epsilon; none: observations were not normalised."""
    reading: Words = ()
    """What a NIR graph of others does not say, name:value: steps dt decay flavour encoder squash gain."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""


@dataclass(frozen=True, kw_only=True)
class Convert(Common):
    """Make a run of spiking neurons that takes exactly the actions of a policy trained with --agent qcfs."""

    run: Positional[Path]
    """Run folder."""
    out: Path
    """Where the converted run goes."""
    method: str = "pascal"
    """pascal, or rate: the control, plain integrate-and-fire neurons averaged over --steps steps."""
    form: str = "counts"
    """counts: the trained network to the last bit; dyadic: with rounded weights, in any order of sums; stepwise:
    every layer at every time step."""
    neuron: str = "pascal"
    """pascal: spikes while it listens, and settles; gated: listens in silence, fewer steps."""
    steps: int = 16
    """Time steps of --method rate."""
    finetune_steps: int = 0
    """Steps of behaviour cloning that give a ReLU policy (--agent mlp) the activations it needs."""
    levels: str = "8"
    """Levels that it gets: 8, or one a hidden layer, 8,4; auto chooses them for --budget-steps."""
    budget_steps: int = 16
    """Most time steps a decision for --levels auto."""
    episodes: int = 10
    """Pairs of episodes played for the certificate; 0 for none."""
    step_time: float = 1.0
    """Milliseconds that a time step is taken to last, for the certificate."""
    progress: Progress = True
    """Show progress."""
    best: Flag = False
    """Convert the best policy seen in training instead of the last one."""


@dataclass(frozen=True, kw_only=True)
class Compile(Common):
    """Compile a function of spike trains into a spiking network, and prove that it computes it."""

    specification: Positional[str]
    """A text such as "count(prox, 2, window=3) -> hold(4)", a YAML file, or a reflex that comes with the package."""
    inputs: str = ""
    """Names of the input lines, separated by commas (a text only)."""
    beta: str = ""
    """Leak of the neurons, 7/8 or 0.875; by default 7/8, or what the file says."""
    reset: str = ""
    """soft, hard or soft_next (subtracts a step later, as snnTorch does)."""
    target: str = ""
    """unit: every synapse between neurons takes a step; layered: layers follow each other within a step."""
    delays: str = ""
    """synaptic, or relays: chains of neurons that all readers share."""
    minimise: str = "neurons"
    """neurons or weights."""
    modular: Flag = False
    """A gate for every operation as it is written, instead of several in one."""
    certify: Flag = False
    """Search all states for a train on which the network is wrong."""
    draw: Path | None = None
    """Picture of the network: .svg, .png or .pdf."""
    raster: Path | None = None
    """Picture of spikes over time for a random train."""
    seed: int = 0
    """Draws that train."""
    out: Path | None = None
    """Run folder to save the network in."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Compose(Common):
    """Put a compiled reflex beside a policy: sensor events go in, its spikes gate the action."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    reflex: str
    """YAML file with events, outputs and gates, or navigation-brake."""
    out: Path
    """Where the composed run goes."""
    beta: str = ""
    """Leak of the neurons; by default what the file says."""
    reset: str = ""
    """soft, hard or soft_next; by default what the file says."""
    target: str = ""
    """layered (acts at once) or unit (a decision late for every synapse in a row); by default what the file says."""
    modular: Flag = False
    """A gate for every operation as it is written, instead of several in one."""
    best: Flag = False
    """Take the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""
