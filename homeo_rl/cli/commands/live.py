"""The command ``homeo-rl live``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import check_target, open_run, write_exported
from homeo_rl.cli.flags import Common, Flag, Positional
from homeo_rl.errors import UsageError

COMMAND = Command(EVALUATE, 8, "make a page to damage and repair robots in")


@dataclass(frozen=True, kw_only=True)
class Live(Common):
    """Make a folder with a page in which robots act, are damaged and repair themselves (docs/live.md).

    It needs Emscripten (emcc), and the network once for MuJoCo's WebAssembly build and three.js. The page itself needs
    neither: open index.html.
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders, or names of agents that come with the package (homeo-rl agents)."""
    out: Path
    """A new or empty folder."""
    best: Flag = False
    """Take the best policies seen in training instead of the last ones."""


def run(args: Live, words: list[str]) -> dict[str, Any]:
    """Make a page of runs."""
    if not args.runs:
        raise UsageError("live: expected at least one run folder, got none; give the runs to show")
    check_target(args.out, folder=True)

    from homeo_rl.cli.console import print_hint
    from homeo_rl.live.site import build_site, require_compiler

    require_compiler()
    runs = [open_run(path) for path in args.runs]
    site = build_site(runs, which="best" if args.best else "policy", progress=print_hint)
    size = write_exported(args.out, site)
    for line in site.notes:
        print(line)
    print(f"page: {args.out / 'index.html'}")
    return {"page": str(args.out / "index.html"), "bytes": size, "runs": [str(path) for path in args.runs]}
