"""What the file of a study may say, as validated frozen data.

name: robustness
episodes: 20
groups:
  - {name: walkers, suite: homeostasis, arms: [none, dwam, sleep], hosts: [popsan-hopper-0, runs/mine]}
  - {name: robots, suite: navigation-paper, arms: [none, dwam], hosts: [navigation-san], routes: routes.json}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from homeo_rl.errors import UsageError, repeated
from homeo_rl.storage.files import printable
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_fields import parse
from homeo_rl.storage.yaml_file import read_yaml

FOLDER = Path(__file__).parent

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Group:
    """Hosts that are evaluated alike. Entries of one name are drawn and averaged together.

    Attributes:
        name: what they are called.
        hosts: run folders, relative to the file, or names of agents that come with the package.
        suite: name of a suite, or its file.
        arms: of `homeo-rl evaluate`, the first being the reference: ``none``, or what the hosts were trained with.
            Policies without spikes are given ``none`` only.
        env: environment in place of the hosts' own.
        routes: file of fixed starts and goals, relative to the file.
        episodes: in place of the study's.
        role: "development" hosts are those that settings were chosen on; their figures are told apart.
        optional: hosts that are not there are left out, and the page says so.
    """

    name: str
    hosts: tuple[str, ...]
    suite: str
    arms: tuple[str, ...]
    env: str = ""
    routes: str = ""
    episodes: int | None = None
    role: Literal["test", "development"] = "test"
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.hosts or not self.arms:
            raise ValueError("expected at least one host and one arm")
        twice = repeated(self.hosts) or repeated(self.arms)
        if twice:
            raise ValueError(f"expected different hosts and arms, got {twice!r} twice")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Subset:
    """Some damaged conditions of a group that are told apart, such as those of an earlier table."""

    name: str
    group: str
    conditions: tuple[str, ...]


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the study is to show of an arm; written down before it is carried out. One of the last four is given.

    Attributes:
        say: in words.
        under: kind of cells: damaged ones, those with damage of the network or of its surroundings, or the clean ones.
        conditions: some of them only.
        than: other arm that differences are to; by default the group's reference.
        surely: the lower end of the interval has to reach ``gained``, not only the mean.
        kept: least mean over the cells.
        gained: least mean difference to the other arm.
        tied: the same for every host on its own, whose interval has to reach it.
        harmed: most cells of any kind in which the arm is worse at the 5 % level, after correction.
    """

    say: str
    group: str
    arm: str
    under: Literal["damaged", "network", "surroundings", "clean"] = "damaged"
    conditions: tuple[str, ...] = ()
    than: str = ""
    surely: bool = False
    kept: float | None = None
    gained: float | None = None
    tied: float | None = None
    harmed: int | None = None

    def __post_init__(self) -> None:
        asked = [name for name in ("kept", "gained", "tied", "harmed") if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(f"expected one of kept, gained, tied, harmed; got {', '.join(asked) or 'none'}")
        if self.surely and self.gained is None:
            raise ValueError("surely: expected with gained only")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Study:
    """A whole file.

    ``contrasts`` are pairs of arms that are compared with one another, host by host.
    """

    name: str
    groups: tuple[Group, ...]
    subsets: tuple[Subset, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    claims: tuple[Claim, ...] = ()
    description: str = ""
    episodes: int = 20
    seed: int = 0
    calibration_episodes: int = 5

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("expected at least one group, got none")
        alike: dict[str, Group] = {}
        for group in self.groups:
            first = alike.setdefault(group.name, group)
            if (group.suite, group.episodes, group.env, group.routes, group.role, group.arms[0]) != (
                first.suite, first.episodes, first.env, first.routes, first.role, first.arms[0],
            ):  # fmt: skip
                raise ValueError(
                    f"groups of one name, {group.name!r}: expected one suite, env, routes, role, episodes, first arm"
                )
        arms = {arm for group in self.groups for arm in group.arms}
        strange = [arm for contrast in self.contrasts for arm in contrast if arm not in arms]
        if strange:
            raise ValueError(f"contrasts: expected arms of the groups, {', '.join(sorted(arms))}; got {strange[0]!r}")
        for subset in self.subsets:
            self._check_group(f"subset {subset.name!r}", subset.group)
        for claim in self.claims:
            self._check_group(f"claim {claim.say!r}", claim.group)
            there = dict.fromkeys(arm for group in self.groups if group.name == claim.group for arm in group.arms)
            strange = [arm for arm in (claim.arm, claim.than) if arm and arm not in there]
            if strange:
                raise ValueError(
                    f"claim {claim.say!r}: expected arms of its group, {', '.join(there)}; got {strange[0]!r}"
                )

    def _check_group(self, what: str, name: str) -> None:
        names = list(dict.fromkeys(group.name for group in self.groups))
        if name not in names:
            raise ValueError(f"{what}: expected one of the groups {', '.join(names)}, got {name!r}")


def study_names() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_study(name: str) -> tuple[Study, Path]:
    """Read a study by its name or from a YAML file; nothing heavy is imported.

    Returns:
        what it says, and the folder that its paths are relative to: for a study that comes with the package, the one
        in which the command is given.

    Raises:
        UsageError: naming the file, the line and what was expected there.
    """
    path = FOLDER / f"{name}.yaml" if name in study_names() else local_path(Path(name), "study")
    if path.is_dir():
        raise UsageError(
            f"{path}: expected a study's file, or a folder in which a study has written study.json; got another folder"
        )
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise UsageError(
            f"{path}: expected name, groups, ...; got {printable(repr(document.data), 60)}; see docs/studies.md"
        )
    sections: dict[tuple[str | int, ...], type[Any]] = {(): Study}
    for key, kind in (("groups", Group), ("subsets", Subset), ("claims", Claim)):
        found: Any = document.data.get(key)
        sections |= {(key, index): kind for index in range(len(found) if isinstance(found, list) else 0)}
    return parse(Study, document.data, document, sections), Path() if path.parent == FOLDER else path.parent
