"""Pictures of episodes: choosing a way to render without a screen, and filming."""

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.contract import accepts
from homeo_rl.errors import EnvironmentFault, UsageError

Env = gym.Env[Any, Any]

SUFFIXES = (".gif", ".webp", ".png", ".mp4")

_WINDOW = "import glfw, sys; sys.exit(not glfw.init())"

_PROBE = "import mujoco; mujoco.GLContext(32, 32).make_current()"


def choose_backend() -> None:
    """Set MUJOCO_GL to a backend that works without a screen: EGL, else OSMesa; a user's own choice stands.

    Must be called before anything is rendered.

    Raises UsageError: none works; the message says what to install.
    """
    with contextlib.suppress(ImportError):
        # Mesa and Triton each bring an LLVM. torch loads Triton's when it first makes an optimiser, and that crashes
        # the process where Mesa's is loaded already; the other way round they get along.
        importlib.import_module("triton")
    if chosen := os.environ.get("MUJOCO_GL"):
        if subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False).returncode == 0:
            return
        raise UsageError(f"MUJOCO_GL={chosen}: expected a backend that works here, it does not; unset it")
    for backend in ("egl", "osmesa"):
        environment = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
        probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, check=False)
        if probe.returncode == 0:
            os.environ.update(MUJOCO_GL=backend, PYOPENGL_PLATFORM=backend)
            return
    raise UsageError(
        "rendering: expected EGL or OSMesa, found neither; install one (Debian: apt-get install libegl1, or libosmesa6)"
    )


def require_display() -> None:
    """Check that a window can be opened, before a library tries to: where it cannot, some end the whole process.

    Raises UsageError: it cannot.
    """
    if sys.platform != "linux" or os.environ.get("SDL_VIDEODRIVER") in ("dummy", "offscreen"):
        return
    named = [name for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)]
    if not named:
        raise UsageError("no display: neither DISPLAY nor WAYLAND_DISPLAY is set; use --video FILE")
    if importlib.util.find_spec("glfw") is None:
        return
    if subprocess.run([sys.executable, "-c", _WINDOW], capture_output=True, check=False).returncode != 0:
        raise UsageError(f"no display: {named[0]}={os.environ[named[0]]} cannot be opened; use --video FILE")


def camera(env: Env) -> dict[str, str]:
    """Return the arguments that make a MuJoCo environment's camera follow the robot, where its model has one for that.

    Gymnasium's own default stands still, and a robot that runs well leaves the picture.
    """
    model = getattr(env.unwrapped, "model", None)
    if (
        model is None
        or not accepts(type(env.unwrapped), "camera_name")
        or not hasattr(env.unwrapped, "mujoco_renderer")
    ):
        return {}
    names = [model.camera(index).name for index in range(model.ncam)]
    return {"camera_name": "track"} if "track" in names else {}


class Filmed(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Hand a rendered frame [H, W, 3] to ``sink`` once in ``every`` steps (0: never); end episodes after ``steps``."""

    def __init__(self, env: Env, sink: Callable[[np.ndarray], None], steps: int, every: int = 1) -> None:
        RecordConstructorArgs.__init__(self, sink=sink, steps=steps, every=every)
        gym.Wrapper.__init__(self, env)
        self._sink, self._limit, self._every, self._elapsed = sink, steps, every, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode and film its first frame."""
        result = self.env.reset(seed=seed, options=options)
        self._elapsed = 0
        self._film()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and film it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        self._film()
        return observation, reward, terminated, truncated or self._elapsed >= self._limit, info

    def _film(self) -> None:
        if self._every == 0 or self._elapsed % self._every:
            return
        try:
            frame = self.env.render()
        except gym.error.DependencyNotInstalled as error:
            raise UsageError(f"rendering: {error}") from None
        self._sink(picture_of(frame))


def picture_of(frame: Any) -> np.ndarray:
    """Return what ``render()`` gave as bytes [H, W, 3]: greys get colours, transparency goes, floats are in [0, 1].

    Raises EnvironmentFault: it is no picture.
    """
    array: np.ndarray = frame if isinstance(frame, np.ndarray) else np.zeros(0)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype.kind not in "biuf" or not array.size:
        got = f"{array.dtype} of shape {array.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise EnvironmentFault(f"rendering: expected a picture [H, W, 3] of bytes, got {got}; correct its render()")
    array = array[..., :3]
    if array.dtype.kind == "f":
        array = np.nan_to_num(array * (255.0 if array.max() <= 1.0 else 1.0))
    picture: np.ndarray = array if array.dtype == np.uint8 else array.clip(0, 255).astype(np.uint8)
    return picture


def pace_of(env: Env) -> float:
    """Return the pictures of a second that an environment's metadata names; 30 where it names none."""
    pace = (env.metadata or {}).get("render_fps")
    return float(pace) if isinstance(pace, int | float | np.number) and 0 < float(pace) < np.inf else 30.0


def check_film(path: Path) -> None:
    """Check that a film of this name can be written.

    Raises UsageError: a suffix that is not one of `SUFFIXES`, a folder that is not there, or MP4 without its encoder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--video {path}: expected a name that ends in {', '.join(SUFFIXES)}, got {path.suffix!r}")
    if not path.parent.is_dir():
        raise UsageError(f"--video {path}: expected an existing folder, found none; make {path.parent}")
    if path.suffix.lower() == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UsageError(f"--video {path}: MP4 needs an encoder; pip install 'homeo-rl[video]'")


class Film:
    """A video file that is written frame by frame; the format follows from the suffix.

    Raises UsageError: see `check_film`.
    """

    def __init__(self, path: Path, fps: float) -> None:
        check_film(path)
        self.path, self.fps = path, fps
        self._frames: list[np.ndarray] = []
        self._writer: Any = None
        if path.suffix.lower() == ".mp4":
            import imageio.v2

            self._writer = imageio.v2.get_writer(path, fps=fps, macro_block_size=1)

    def add(self, frame: np.ndarray) -> None:
        """Append a frame [H, W, 3] of bytes."""
        if self._writer is not None:
            self._writer.append_data(frame)
        else:
            self._frames.append(frame)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            return
        from PIL import Image

        pictures = [Image.fromarray(frame) for frame in self._frames]
        if pictures:
            pictures[0].save(
                self.path, save_all=True, append_images=pictures[1:], duration=round(1000 / self.fps), loop=0
            )
