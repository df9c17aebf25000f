"""Flags of the commands that train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from homeo_rl.flags.common import Common, Flag, Positional, Progress, Short, Words


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train an agent with Stable-Baselines3 and leave a run folder behind."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the control arm) or qcfs (to be converted)."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Environment steps; by default what is tuned for the environment, else 100000. With --out, a finished run goes on
    where it ended if this is more than it was trained for."""
    seed: int = 0
    """Root of all randomness."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """The run goes to LOG_FOLDER/ALGO/ENV_n with the first free n."""
    out: Path | None = None
    """Put the run exactly here instead."""
    imp: str = ""
    """What membranes begin a decision with: rest (0), neuron or layer (learnable potentials), constant (the control);
    by default what the preset says."""
    readout: str = ""
    """What the action is read from: population, mean, last (spikes) or membrane; by default what the preset says."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters, name:value; agent_kwargs:"{hidden: [128, 128], steps: 8}" changes the network."""
    conf: Annotated[Path | None, Short(("-conf", "--conf-file"))] = None
    """YAML file {env: {name: value}} of hyper-parameters, as rl-zoo has them."""
    preset: Path | None = None
    """Training as a file, such as best.yml of homeo-rl tune; what the command line says wins."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    env_wrapper: Words = ()
    """Wrappers around the environment, innermost first, module.Name or with arguments
    'gymnasium.wrappers.RescaleAction:{min_action: -1, max_action: 1}'; every later command uses them too."""
    flatten_observations: Flag = False
    """Make observations that are tables, choices or dictionaries one row of numbers."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
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
    discard_checkpoints: Flag = False
    """Keep no checkpoint of the finished training: it saves disk, and a larger -n cannot go on from it."""
    trained_agent: Annotated[Path | None, Short(("-i",))] = None
    """Begin with the weights of this run, or of a zip that train left; its algorithm and architecture have to fit."""
    fresh: Flag = False
    """Begin anew instead of going on; what lies at --out is renamed."""
    dry_run: Flag = False
    """Check everything, show the configuration and what it will need, write nothing."""
    device: str = "cpu"
    """cpu, cuda or auto."""
    num_threads: int = 1
    """Threads of torch; results are repeatable for a given number."""
    vec_env: str = "dummy"
    """Where environments without a compiled form run: dummy (in turn) or workers (a process each, which is started
    again when it dies or hangs); does not change the results."""
    worker_timeout: float = 60.0
    """Seconds after which a worker that does not answer counts as hung."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class VerifyResume(Common):
    """Train a run anew twice, once cut in the middle and once not, and compare all parameters bit for bit."""

    run: Positional[Path]
    """Run folder of a training."""
    steps: int = 5000
    """Environment steps before the cut, and after it."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Distill(Common):
    """Teach a spiking student what a run does, so that every spike step of its decisions is a usable answer."""

    teacher: Positional[Path]
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
    progress: Progress = True
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
    n_timesteps: Annotated[int, Short(("-n",))] = 50_000
    """Environment steps of each training."""
    seeds: int = 5
    """Trainings of each arm."""
    arms: str = "baseline,IMP,LTS,IMP + LTS,constant"
    """Arms, separated by commas: mean read-out, IMP, last-step read-out, both, and a learnable constant current."""
    time_steps: str = ""
    """Spike steps after which decisions are cut, 1,4; by default none are."""
    episodes: int = 20
    """Episodes after each training."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters, name:value."""
    workers: int | None = None
    """Trainings side by side, by default one a core."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Vision(Common):
    """Train a spiking classifier on a folder of event recordings or images; the same command goes on."""

    recipe: Positional[str]
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
    progress: Progress = True
    """Show progress."""
