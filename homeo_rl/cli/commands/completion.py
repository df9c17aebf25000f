"""The command ``homeo-rl completion``."""

from dataclasses import dataclass
from typing import Any, Literal

from homeo_rl.cli.command import TOOLS, Command, flags_of, list_commands
from homeo_rl.cli.flags import Common, Positional

COMMAND = Command(TOOLS, 9, "print a completion script for a shell")


@dataclass(frozen=True, kw_only=True)
class Completion(Common):
    """Print a script that completes commands and flags in the shell.

    bash: homeo-rl completion bash > ~/.local/share/bash-completion/completions/homeo-rl

    zsh: homeo-rl completion zsh > ~/.zfunc/_homeo-rl, with fpath+=~/.zfunc before compinit in ~/.zshrc
    """

    shell: Positional[Literal["bash", "zsh", "tcsh"]]
    """bash, zsh or tcsh."""


def run(args: Completion, words: list[str]) -> dict[str, Any]:
    """Print a completion script."""
    import argparse

    import shtab

    from homeo_rl.cli.parsing import fill

    parser = argparse.ArgumentParser(prog="homeo-rl", add_help=False)
    commands = parser.add_subparsers()
    for name, command in list_commands().items():
        fill(commands.add_parser(name, help=command.summary, add_help=False), flags_of(name))
    script = shtab.complete(parser, args.shell)
    print(script)
    return {"shell": args.shell, "script": script, "lines": script.count("\n") + 1}
