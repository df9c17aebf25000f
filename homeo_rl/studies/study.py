"""The file of a study as validated frozen data.

name: robustness
episodes: 20
groups:
  - {name: walkers, suite: homeostasis, arms: [none, dwam, sleep], hosts: [popsan-hopper-0, runs/mine]}
  - {name: robots, suite: navigation-paper, arms: [none, dwam], hosts: [navigation-san], routes: routes.json}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic

from homeo_rl.errors import UsageError, find_repeated
from homeo_rl.evaluation.metrics import numbers
from homeo_rl.storage.files import printable
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_fields import parse
from homeo_rl.storage.yaml_file import Document, Place, read_yaml

FOLDER = Path(__file__).parent

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Group:
    """Policies ("hosts") that are evaluated alike. Entries of one name are drawn and averaged together."""

    name: str
    # run folders or policies' files, relative to the file, names of agents that come with the package, or
    # module:function
    hosts: tuple[str, ...]
    suite: str  # name of a suite, or its file
    # of `homeo-rl evaluate`, the first being the reference: ``none``, or the mechanism used in training. Policies
    # without spikes get ``none`` only.
    arms: tuple[str, ...]
    env: str = ""  # environment in place of the one of the training; policies' files and functions need it
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of that of policies' files and functions
    routes: str = ""  # file of fixed starts and goals, relative to the file
    episodes: int | None = None
    # "development" hosts were used to choose settings; their figures are reported separately
    role: Literal["test", "development"] = "test"
    optional: bool = False  # missing hosts are left out, and the page says so

    def __post_init__(self) -> None:
        if not self.hosts or not self.arms:
            raise ValueError("expected at least one host and one arm")
        twice = find_repeated(self.hosts) or find_repeated(self.arms)
        if twice:
            raise ValueError(f"expected different hosts and arms, got {twice!r} twice")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Subset:
    """Some damaged conditions of a group that get their own table."""

    name: str
    group: str
    conditions: tuple[str, ...]


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Twin:
    """A policy that is repaired by an arm, and one for the same robot that was trained to do without a repair."""

    host: str
    arm: str
    twin: str


_CRITERIA = (
    "min_retention", "min_gain", "equivalence_margin", "max_harmed_cells", "max_changed_episodes", "min_share_of_gain",
    "min_mean", "max_mean", "max_total",
)  # fmt: skip
_OF_FIGURES = _CRITERIA[-3:]


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Claim:
    """A pre-registered criterion of one arm. Exactly one of ``min_retention`` and what follows it is given."""

    statement: str
    group: str
    arm: str
    # kind of cells: all damaged ones, those with a damaged network or environment, or the clean ones
    under: Literal["damaged", "network", "environment", "clean"] = "damaged"
    conditions: tuple[str, ...] = ()  # some of them only
    versus: str = ""  # other arm of the differences; by default the group's reference
    versus_group: str = ""  # other group of the differences, whose hosts stand at the same places (`group_contrasts`)
    require_significance: bool = False  # the lower end of the interval has to reach ``min_gain``, not only the mean
    figure: str = ""  # column of scores.csv that min_mean, max_mean or max_total is about
    min_loss: float | None = None  # only cells in which the reference loses so much of what it has without damage
    min_other_gain: float | None = None  # only cells in which ``versus`` gains so much over the reference
    min_retention: float | None = None  # of the mean over the cells
    min_gain: float | None = None  # of the mean difference to the other arm
    equivalence_margin: float | None = None  # the same for every host separately, whose interval has to reach it
    # cells of any kind in which the arm is worse at the 5 % level, after correction
    max_harmed_cells: int | None = None
    max_changed_episodes: int | None = None  # episodes whose value is not that of the other arm, to the bit
    min_share_of_gain: float | None = None  # of the gain of ``versus`` over the reference, over all cells together
    min_mean: float | None = None  # of ``figure`` over the episodes that have it
    max_mean: float | None = None
    max_total: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in _CRITERIA if getattr(self, name) is not None]  # words: keep
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(_CRITERIA)}; got {', '.join(given) or 'none'}")
        if self.require_significance and self.min_gain is None:
            raise ValueError("require_significance: expected with min_gain only")
        if self.versus_group and self.min_gain is None and self.max_harmed_cells is None:
            raise ValueError("versus_group: expected with min_gain or max_harmed_cells only")
        if bool(self.figure) != (given[0] in _OF_FIGURES):
            raise ValueError(f"figure: expected with one of {', '.join(_OF_FIGURES)}, and with these only")
        if self.figure and self.figure not in numbers():
            raise ValueError(f"figure: expected a column of scores.csv, {', '.join(numbers())}; got {self.figure!r}")
        if (self.min_share_of_gain is not None or self.min_other_gain is not None) and not self.versus:
            raise ValueError("min_share_of_gain, min_other_gain: expected versus, the arm whose gain is meant")


EARLIER_KEYS = {
    "say": "statement",
    "than": "versus",
    "surely": "require_significance",
    "kept": "min_retention",
    "gained": "min_gain",
    "tied": "equivalence_margin",
    "harmed": "max_harmed_cells",
}
"""Keys of claims in files of earlier versions, which are still accepted, and in study.json, where they stay."""

_STORED_KEYS = {name: key for key, name in EARLIER_KEYS.items()}
_LATER = (
    "figure",
    "versus_group",
    "min_loss",
    "min_other_gain",
    "max_changed_episodes",
    "min_share_of_gain",
    *_OF_FIGURES,
)


def claim_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a claim with earlier keys, as study.json has it, by the names of `Claim`."""
    fields = {EARLIER_KEYS.get(key, key): value for key, value in entry.items()}
    return fields | ({"under": "environment"} if entry.get("under") == "surroundings" else {})


def study_document(study: Study) -> dict[str, Any]:
    """Return a study as study.json has it."""
    document = asdict(study)
    for group in document["groups"]:  # keys that came later are there where they are used
        if not group["env_kwargs"]:
            del group["env_kwargs"]
    if not document["host_contrasts"]:
        del document["host_contrasts"]
    if not study.group_contrasts:
        del document["group_contrasts"]
    if not study.twins:
        del document["twins"]  # as in documents of earlier versions
    for claim in document["claims"]:
        claim["under"] = "surroundings" if claim["under"] == "environment" else claim["under"]
    document["claims"] = tuple(
        {
            _STORED_KEYS.get(name, name): value
            for name, value in claim.items()
            if value not in (None, "") or name not in _LATER
        }
        for claim in document["claims"]
    )
    return document


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    ``contrasts`` are pairs of arms that are compared with one another, host by host; ``host_contrasts`` are pairs of
    hosts of a group, by their names in the tables, each with its own control; ``group_contrasts`` are pairs of groups
    whose hosts stand in pairs, first with first, second with second. ``twins`` are compared where both hosts were
    evaluated under one suite.
    """

    name: str
    groups: tuple[Group, ...]
    subsets: tuple[Subset, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    host_contrasts: tuple[tuple[str, str], ...] = ()
    group_contrasts: tuple[tuple[str, str], ...] = ()
    twins: tuple[Twin, ...] = ()
    claims: tuple[Claim, ...] = ()
    description: str = ""
    episodes: int = 20
    seed: int = 0
    calibration_episodes: int = 5

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("expected at least one group, got none")
        by_name: dict[str, Group] = {}
        for group in self.groups:
            first = by_name.setdefault(group.name, group)
            if (group.suite, group.episodes, group.env, group.routes, group.role, group.arms[0]) != (
                first.suite, first.episodes, first.env, first.routes, first.role, first.arms[0],
            ):  # fmt: skip
                raise ValueError(
                    f"groups of one name, {group.name!r}: expected one suite, env, routes, role, episodes, first arm"
                )
        arms = {arm for group in self.groups for arm in group.arms}
        unknown = [arm for contrast in self.contrasts for arm in contrast if arm not in arms]
        if unknown:
            raise ValueError(f"contrasts: expected arms of the groups, {', '.join(sorted(arms))}; got {unknown[0]!r}")
        for pair in self.host_contrasts:
            of_groups = [{Path(host).name for host in group.hosts} for group in self.groups]
            if pair[0] == pair[1] or not any(names.issuperset(pair) for names in of_groups):
                raise ValueError(f"host_contrasts: expected two hosts of one entry of groups, got {' and '.join(pair)}")
        for names in self.group_contrasts:
            self._check_pair_of_groups("group_contrasts", *names)
        hosts = {Path(host).name for group in self.groups for host in group.hosts}
        unknown = [name for twin in self.twins for name in (twin.host, twin.twin) if name not in hosts]
        if unknown:
            raise ValueError(f"twins: expected hosts of the groups, {', '.join(sorted(hosts))}; got {unknown[0]!r}")
        for subset in self.subsets:
            self._check_group(f"subset {subset.name!r}", subset.group)
        for claim in self.claims:
            self._check_group(f"claim {claim.statement!r}", claim.group)
            if claim.versus_group:
                self._check_pair_of_groups(f"claim {claim.statement!r}", claim.group, claim.versus_group)
            known = dict.fromkeys(arm for group in self.groups if group.name == claim.group for arm in group.arms)
            unknown = [arm for arm in (claim.arm, claim.versus) if arm and arm not in known]
            if unknown:
                raise ValueError(
                    f"claim {claim.statement!r}: expected arms of its group, {', '.join(known)}; got {unknown[0]!r}"
                )

    def _check_pair_of_groups(self, what: str, first: str, second: str) -> None:
        """Raises ValueError: the groups do not stand in pairs of hosts under one suite."""
        of_both = [[group for group in self.groups if group.name == name] for name in (first, second)]
        for name in (first, second):
            self._check_group(what, name)
        counts = [sum(len(group.hosts) for group in of_group) for of_group in of_both]
        if first == second or counts[0] != counts[1] or of_both[0][0].suite != of_both[1][0].suite:
            raise ValueError(
                f"{what}: expected two groups of as many hosts under one suite; got {first}, {counts[0]} hosts under "
                f"{of_both[0][0].suite}, and {second}, {counts[1]} hosts under {of_both[1][0].suite}"
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

    Returns the study, and the folder that its paths are relative to: for a study that comes with the package, the
    current folder. Raises UsageError: naming the file, the line and what was expected there.
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
    sections: dict[Place, type[Any]] = {(): Study}
    for key, kind in (("groups", Group), ("subsets", Subset), ("twins", Twin), ("claims", Claim)):
        entries: Any = document.data.get(key)
        sections |= {(key, index): kind for index in range(len(entries) if isinstance(entries, list) else 0)}
    data, origins = _rename_claims(document)
    study = parse(Study, data, document, sections, origins=origins)
    return study, Path() if path.parent == FOLDER else path.parent


def _rename_claims(document: Document) -> tuple[dict[str, Any], dict[Place, Place]]:
    """Return the data with today's keys of claims, and where in the file each renamed entry is."""
    claims = document.data.get("claims")
    if not isinstance(claims, list):
        return document.data, {}
    origins: dict[Place, Place] = {}
    for index, claim in enumerate(claims):
        for key in EARLIER_KEYS.keys() & claim.keys() if isinstance(claim, dict) else ():
            name = EARLIER_KEYS[key]
            if name in claim:
                where = document.at(("claims", index, key))
                raise UsageError(f"{where}: expected {name} or its earlier name {key}, got both; remove one")
            origins[("claims", index, name)] = ("claims", index, key)
    renamed = [claim_fields(claim) if isinstance(claim, dict) else claim for claim in claims]
    return {**document.data, "claims": renamed}, origins
