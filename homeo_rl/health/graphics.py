"""Rendering without a screen, and GPUs."""

import importlib.metadata
import os

from homeo_rl.envs.rendering import choose_backend
from homeo_rl.errors import UsageError
from homeo_rl.health.check import Check
from homeo_rl.processes.slots import visible_gpus

_SET = ("MUJOCO_GL", "PYOPENGL_PLATFORM")


def check_rendering() -> Check:
    """Try the ways to render MuJoCo; navigation worlds need none."""
    before = {name: os.environ.get(name) for name in _SET}
    chosen = before["MUJOCO_GL"]
    if chosen:
        return Check("rendering", "ok", f"MUJOCO_GL={chosen}, as you set it")
    try:
        choose_backend()
        return Check("rendering", "ok", f"MuJoCo through {os.environ['MUJOCO_GL']}")
    except UsageError as error:
        why, _, do = str(error).removeprefix("rendering: ").partition("; ")
        return Check("rendering", "note", f"{why}: no films of MuJoCo's robots", do)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_gpu() -> Check:
    """Compare the GPUs that are there with those that torch can use."""
    import torch

    there = visible_gpus()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("CUDA", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    build = "a build for CPUs" if torch.version.cuda is None else f"a build for CUDA {torch.version.cuda}"
    if there:
        do = "install a build of torch that fits the driver (https://pytorch.org/get-started/locally/)"
        return Check("CUDA", "note", f"{len(there)} GPU(s), none that torch {torch.__version__} can use: {build}", do)
    return Check("CUDA", "ok", f"no GPU; torch {torch.__version__} is {build}")


def check_triton() -> Check:
    """Look at what runs scans on a GPU. Triton's LLVM must be loaded before Mesa's; rendering takes care of that."""
    import torch

    try:
        version = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        if torch.cuda.is_available():
            return Check("Triton", "note", "not installed", "pip install 'homeo-rl[triton]': scans on the GPU")
        return Check("Triton", "ok", "not installed; of use with a GPU only")
    where = "for scans on the GPU" if torch.cuda.is_available() else "of use with a GPU only"
    return Check("Triton", "ok", f"{version}, {where}; its LLVM is loaded before Mesa's")
