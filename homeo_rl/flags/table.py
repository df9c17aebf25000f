"""All commands: what each is for, its flags, and the module of `homeo_rl.commands` that carries it out."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command; a tuple of strings, because help is to be quick.

    Attributes:
        group: the heading of the help that it stands under.
        flags: the class of its flags in `homeo_rl.flags`.
        module: of `homeo_rl.commands`; loaded once the words were understood.
        summary: a line of the help.
    """

    group: str
    flags: str
    module: str
    summary: str


TRAIN, JUDGE, MAKE, TOOLS = "Train", "Evaluate and look", "Make policies without training", "Experiments and tools"

COMMANDS = {
    "train": Command(TRAIN, "Train", "train", "train an agent, or go on with a training"),
    "tune": Command(TRAIN, "Tune", "tune", "search for hyper-parameters"),
    "distill": Command(TRAIN, "Distill", "distill", "train a spiking student on what a run does"),
    "vision": Command(TRAIN, "Vision", "vision", "train a spiking classifier of images or events"),
    "verify-resume": Command(TRAIN, "VerifyResume", "verifying", "check that resuming changes no bit"),
    "evaluate": Command(JUDGE, "Evaluate", "evaluate", "play a run under a suite of degradations"),
    "report": Command(JUDGE, "Report", "report", "join evaluations into a page"),
    "enjoy": Command(JUDGE, "Enjoy", "enjoy", "watch a run in a window, or film it"),
    "calibrate": Command(JUDGE, "Calibrate", "calibrate", "record the firing rates of a healthy network"),
    "sleep": Command(JUDGE, "Sleep", "sleep", "show what sleep does to a damaged network"),
    "inspect": Command(JUDGE, "Inspect", "inspect", "show what a run or a file holds"),
    "import": Command(MAKE, "Import", "importing", "make a run of a published policy"),
    "export": Command(MAKE, "Export", "exporting", "write a policy for other tools"),
    "convert": Command(MAKE, "Convert", "convert", "turn an --agent qcfs policy into spiking neurons"),
    "compile": Command(MAKE, "Compile", "compiling", "compile a function into a spiking network"),
    "compose": Command(MAKE, "Compose", "compose", "add a compiled reflex to a policy"),
    "sweep": Command(TOOLS, "Sweep", "sweep", "train and evaluate a grid of settings"),
    "study": Command(TOOLS, "Study", "study", "evaluate many policies, write a page"),
    "ablate": Command(TOOLS, "Ablate", "ablate", "compare initial potentials and read-outs"),
    "doctor": Command(TOOLS, "Doctor", "doctor", "check this machine and time a training"),
    "agents": Command(TOOLS, "Agents", "agents", "list the trained agents of the package"),
    "suites": Command(TOOLS, "Suites", "suites", "list the suites of degradations"),
    "conditions": Command(TOOLS, "Conditions", "conditions", "list the conditions of a suite"),
    "arms": Command(TOOLS, "Arms", "arms", "list the homeostasis arms"),
    "completion": Command(TOOLS, "Completion", "completion", "print completion for a shell"),
}


def overview() -> str:
    """Return the help of the program: the commands, by group."""
    lines = [
        "usage: homeo-rl COMMAND [flags]",
        "",
        "Reinforcement learning with homeostatic spiking agents that stay alive when they",
        "are damaged.",
    ]
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:14} {one.summary}" for name, one in COMMANDS.items() if one.group == group]
    lines += ["", "homeo-rl help COMMAND shows its flags, homeo-rl --version the version."]
    return "\n".join(lines)
