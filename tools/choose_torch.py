"""Print pip's options for the build of torch that `make setup` installs, and say so where it is a large one.

PyPI's torch for Linux brings CUDA along, gigabytes that are of use with a GPU alone. Without one the index of CPU
builds is added where it can be reached; everything else still comes from pip's own indexes.

    python tools/choose_torch.py auto             as above
    python tools/choose_torch.py none             pip's own indexes
    python tools/choose_torch.py https://...      this index too
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT = 5.0
"""Seconds to wait for it."""


def main(wanted: str) -> None:
    """Print the options."""
    options: list[str] = []
    if wanted == "auto":
        # Other indexes are asked only where pip's own would give the large build to a machine that has no use for it.
        if wants_cpu_build() and brings_cuda(options) and is_reachable(CPU_INDEX):
            options = ["--extra-index-url", CPU_INDEX]
    elif wanted not in ("none", ""):
        options = ["--extra-index-url", wanted]
    print(*options)
    if brings_cuda(options):
        print(
            "torch for CUDA will be installed: about 2.7 GB to download, 5 GB on the disk. "
            f"A CPU build has 0.2 GB: make setup TORCH_INDEX={CPU_INDEX}, or another index that has one",
            file=sys.stderr,
        )


def wants_cpu_build() -> bool:
    """Return whether this is a machine for which PyPI has a CUDA build alone, and which has no GPU."""
    return sys.platform == "linux" and shutil.which("nvidia-smi") is None


def is_reachable(url: str) -> bool:
    """Return whether a host answers soon; looking up its name counts too, which has no time limit of its own."""
    answers: list[int] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url + "/torch/", timeout=TIMEOUT) as answer:
                answers.append(answer.status)
        except (OSError, ValueError):
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(TIMEOUT)
    return answers == [200]


def brings_cuda(options: list[str]) -> bool:
    """Return whether pip would install a torch that needs CUDA's libraries; False if it is there or cannot be found."""
    pinned = re.search(r"^torch==.*$", (Path(__file__).parent.parent / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *options, pinned.group()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return False  # pip says why when it comes to install it
    needed = [need for entry in json.loads(done.stdout)["install"] for need in entry["metadata"]["requires_dist"]]
    return any(need.startswith(("nvidia-", "cuda-")) for need in needed)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "auto")
