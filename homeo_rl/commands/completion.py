"""``homeo-rl completion``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from homeo_rl.flags import Completion


def run(args: Completion, words: list[str]) -> dict[str, Any]:
    """Print a completion script."""
    # The parser is the command line's, which nothing below it may import: it is asked as a user would.
    asked = [sys.executable, "-m", "homeo_rl", "--tyro-print-completion", args.shell]
    script = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    print(script, end="")
    return {"shell": args.shell, "lines": script.count("\n")}
