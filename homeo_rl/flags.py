"""Flags of the commands, as data; `homeo_rl.cli` parses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

Words = tuple[str, ...]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of every command."""

    json: Flag = False
    """Print one machine-readable line last."""
    debug: Flag = False
    """Show tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train an agent with Stable-Baselines3 and leave a run folder behind."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the control arm) or qcfs (to be converted)."""
    n_timesteps: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Environment steps; by default what is tuned for the environment, else 100000."""
    seed: int = 0
    """Root of all randomness."""
    log_folder: Annotated[Path, tyro.conf.arg(aliases=["-f"])] = Path("runs")
    """The run goes to LOG_FOLDER/ALGO/ENV_n with the first free n."""
    out: Path | None = None
    """Put the run exactly here instead."""
    imp: str = ""
    """What membranes begin a decision with: rest (0), neuron or layer (learnable potentials), constant (the control);
    by default what the preset says."""
    readout: str = ""
    """What the action is read from: population, mean, last (spikes) or membrane; by default what the preset says."""
    tensorboard_log: Annotated[Path | None, tyro.conf.arg(aliases=["-tb"])] = None
    """TensorBoard folder; by default tb inside the run."""
    hyperparams: Annotated[Words, tyro.conf.arg(aliases=["-params"])] = ()
    """Hyper-parameters, name:value; agent_kwargs:"{hidden: [128, 128], steps: 8}" changes the network."""
    conf: Annotated[Path | None, tyro.conf.arg(aliases=["-conf"])] = None
    """YAML file {env: {name: value}} of hyper-parameters, as rl-zoo has them."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""
    homeostasis_in_training: str = "none"
    """Let this arm adapt while rollouts are collected, e.g. dwam."""
    eval_freq: int = 10_000
    """Environment steps between evaluations; -1 for none."""
    eval_episodes: int = 5
    """Episodes of each evaluation."""
    save_freq: int = 10_000
    """Environment steps between checkpoints, from which the same command goes on; -1 for none but at a signal."""
    fresh: Flag = False
    """Begin anew instead of going on; what lies at --out is renamed."""
    device: str = "cpu"
    """cpu, cuda or auto."""
    num_threads: int = 1
    """Threads of torch; results are repeatable for a given number."""
    vec_env: str = "dummy"
    """Where environments without a compiled form run: dummy (in turn) or workers (a process each, which is started
    again when it dies or hangs); does not change the results."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Evaluate a run under a suite of degradations, all arms on the same episodes and the same damage."""

    run: tyro.conf.Positional[Path]
    """Run folder, or the name of an agent that comes with the package (navigation-san)."""
    suite: str = "quick"
    """clean, quick, paper-mujoco, standard, navigation-paper, navigation-standard, or a YAML file."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals: {"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}."""
    homeostasis: str = "none,dwam"
    """Arms, separated by commas: none, dwam, linear, bdett; parameters after colons (dwam:eta=5e-5:zeta=none)."""
    episodes: int | None = None
    """Episodes of each arm and condition; by default 20, or one a route."""
    time_steps: str = ""
    """Spike steps after which decisions are cut, 1,2,3,4: one evaluation each, and a picture of return against them."""
    seed: int = 0
    """Root of episode seeds and damage."""
    num_envs: int = 10
    """Episodes side by side in a process; does not change the scores."""
    workers: int | None = None
    """Processes, by default one a core; does not change the scores."""
    calibration_episodes: int = 5
    """Clean episodes that teach the plug-ins the normal firing rates."""
    best: Flag = False
    """Evaluate the best policy seen in training instead of the last one."""
    tensorboard_log: Annotated[Path | None, tyro.conf.arg(aliases=["-tb"])] = None
    """TensorBoard folder; by default tb inside the run."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Join the latest evaluations of one or more runs into a Markdown page and a picture."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; several training seeds become strata of one table."""
    suite: str | None = None
    """Suite to report; by default that of the latest evaluation."""
    conditions: str | None = None
    """Conditions, separated by commas, that the paired comparison is restricted to."""
    out: Path | None = None
    """Folder for report.md and returns.png; by default report inside the first run."""


@dataclass(frozen=True, kw_only=True)
class Import(Common):
    """Make a run of a policy that somebody published."""

    kind: tyro.conf.Positional[str]
    """popsan or san."""
    file: tyro.conf.Positional[Path]
    """The published weights (.npz)."""
    env: str
    """Environment that it drives."""
    out: Path
    """Where the run goes."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""


@dataclass(frozen=True, kw_only=True)
class Convert(Common):
    """Make a run of spiking neurons that takes exactly the actions of a policy trained with --agent qcfs."""

    run: tyro.conf.Positional[Path]
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
    progress: Annotated[Flag, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""
    best: Flag = False
    """Convert the best policy seen in training instead of the last one."""


@dataclass(frozen=True, kw_only=True)
class Distill(Common):
    """Teach a spiking student what a run does, so that every spike step of its decisions is a usable answer."""

    teacher: tyro.conf.Positional[Path]
    """Run folder, or a Stable-Baselines3 zip in it."""
    out: Path
    """Where the student's run goes."""
    student: str = "anytime"
    """Spiking preset."""
    loss: str = "tet-s"
    """What has to be right: tet-s or tet every step, sdt the mean over steps, lts the last step."""
    bins: int = 11
    """Classes of each entry of a continuous action; 0 teaches numbers (tet, sdt, lts)."""
    spacing: str = "cubic"
    """Where the classes lie in [-1, 1]: uniform, or cubic (closer around 0)."""
    rounds: int = 5
    """1 is behaviour cloning on the teacher's states; in later rounds the student acts and the teacher corrects."""
    samples: int = 5000
    """States of each round, from whole episodes."""
    steps: int = 5000
    """Gradient steps of each round."""
    learning_rate: float = 1e-3
    """At the start of each round; it falls to 0."""
    student_kwargs: Words = ()
    """Fields of the student's network, name:value (hidden:"[64, 64]" steps:8)."""
    imp: str = ""
    """What membranes begin a decision with: rest, neuron, layer or constant."""
    seed: int = 0
    """Root of all randomness."""
    best: Flag = False
    """Learn from the best policy seen in training instead of the last one."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Ablate(Common):
    """Train an agent with and without initial potentials and a last-step read-out, over seeds, and compare."""

    out: Path
    """Folder for all runs, the table and the picture; the same command goes on where it was cut off."""
    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id."""
    agent: str = "anytime"
    """Spiking preset."""
    n_timesteps: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 50_000
    """Environment steps of each training."""
    seeds: int = 5
    """Trainings of each arm."""
    arms: str = "baseline,IMP,LTS,IMP + LTS,constant"
    """Arms, separated by commas: mean read-out, IMP, last-step read-out, both, and a learnable constant current."""
    time_steps: str = ""
    """Spike steps after which decisions are cut, 1,4; by default none are."""
    episodes: int = 20
    """Episodes after each training."""
    hyperparams: Annotated[Words, tyro.conf.arg(aliases=["-params"])] = ()
    """Hyper-parameters, name:value."""
    workers: int | None = None
    """Trainings side by side, by default one a core."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Vision(Common):
    """Train a spiking classifier on a folder of event recordings or images; the same command goes on."""

    recipe: tyro.conf.Positional[str]
    """vgg11-dvs128 (event cameras) or sew-resnet18 (images)."""
    data: Path
    """The unpacked data set."""
    out: Path
    """Where weights and accuracies go."""
    kind: str = ""
    """What the folder holds: cifar10-dvs, n-caltech101, cifar10, cifar100 or images (train and val, as ImageNet);
    by default what the recipe is for."""
    loss: str = ""
    """sdt, tet, tet-s or lts; by default the recipe's."""
    imp: str = "channel"
    """Initial potentials: rest, channel or layer."""
    steps: int = 0
    """Spike steps, and frames of a recording; 0 is the recipe's."""
    epochs: int = 0
    """0 is the recipe's."""
    batch: int = 0
    """Images of a gradient step; 0 is the recipe's."""
    learning_rate: float = 0.0
    """At the start, falling to 0 as a cosine; 0 is the recipe's."""
    width: int = 64
    """Channels of the first layer."""
    seed: int = 0
    """Root of all randomness."""
    device: str = "cpu"
    """cpu or cuda."""
    workers: int = 0
    """Processes that read data."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Enjoy(Common):
    """Watch a run, on the screen or as a video file."""

    run: tyro.conf.Positional[Path]
    """Run folder, or the name of an agent that comes with the package (navigation-san)."""
    video: Path | None = None
    """File to write: .gif, .webp, .png or .mp4; by default a window opens."""
    suite: str = "quick"
    """Suite that --condition is looked up in."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals; episode i follows route i."""
    condition: str = "clean"
    """What is damaged."""
    homeostasis: str = "none"
    """One arm."""
    episodes: int = 1
    """How many episodes."""
    steps: int | None = None
    """Most steps of an episode of a video; by default 300, or 1000 in navigation."""
    seed: int = 0
    """Root of the episodes' seeds."""
    best: Flag = False
    """Watch the best policy seen in training instead of the last one."""


@dataclass(frozen=True, kw_only=True)
class Compile(Common):
    """Compile a function of spike trains into a spiking network, and prove that it computes it."""

    specification: tyro.conf.Positional[str]
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
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Compose(Common):
    """Put a compiled reflex beside a policy: sensor events go in, its spikes gate the action."""

    run: tyro.conf.Positional[Path]
    """Run folder, or the name of an agent that comes with the package (navigation-san)."""
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
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class VerifyResume(Common):
    """Train a run anew twice, once cut in the middle and once not, and compare all parameters bit for bit."""

    run: tyro.conf.Positional[Path]
    """Run folder of a training."""
    steps: int = 5000
    """Environment steps before the cut, and after it."""
    progress: Annotated[bool, tyro.conf.arg(aliases=["-P"])] = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Inspect(Common):
    """Tell what a run, a policy bundle, a Stable-Baselines3 zip or an .npz holds; nothing in it is executed."""

    path: tyro.conf.Positional[Path]
    """Folder or file."""
