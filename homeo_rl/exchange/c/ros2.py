"""A package for ros2_control around the C controller, its parameters from the contract."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_FILES = {
    "controller.hpp": "include/{name}_controller.hpp",
    "ros2_controller.cpp": "src/{name}_ros2_controller.cpp",
    "CMakeLists.txt": "CMakeLists.txt",
    "package.xml": "package.xml",
    "plugin.xml": "plugin.xml",
    "README.md": "README.md",
}


def write_ros2_package(name: str, contract: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of the package by their names in the exported folder; {} for choices, which are no commands."""
    if contract["action"]["kind"] == "choice":
        return {}
    folder = files("homeo_rl.exchange.c") / "sources" / "ros2"
    texts = {}
    for source, target in _FILES.items():
        text = (folder / source).read_text(encoding="utf-8")
        texts[f"ros2/{target.format(name=name)}"] = text.replace("@NAME@", name).replace("@UPPER@", name.upper())
    texts["ros2/controller.yaml"] = _parameters(name, contract)
    return texts


def _parameters(name: str, contract: Mapping[str, Any]) -> str:
    period = contract["control_period_s"]
    lines = ["controller_manager:", "  ros__parameters:"]
    if period is not None:
        lines.append(f"    update_rate: {round(1.0 / period)}  # Hz, as in training")
    lines += [f"    {name}:", f"      type: {name}_control/Ros2Controller", f"{name}:", "  ros__parameters:"]
    lines += ["    seed: 1", "    automatic: true  # self-tests by the exported schedule, and sleep where one fails"]
    # A late rehearsal costs return: a quarter of the period, where one of its 936 slices takes 50 us.
    slices = max(1, round(5000 * (period or 0.0))) if "observer" in contract else 1
    lines += [f"    slices_per_update: {slices}", "    keep_repaired_weights: true", "    state_interfaces:"]
    lines += [
        f"      - observation/{entry['index']}  # {' '.join(part for part in (entry['name'], entry['unit']) if part)}"
        for entry in contract["observation"]["entries"]
    ]
    lines.append("    command_interfaces:")
    lines += [
        f"      - action/{entry['index']}  # {entry['name']}, {entry['low']:g} to {entry['high']:g} {entry['unit']}"
        for entry in contract["action"]["entries"]
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)
