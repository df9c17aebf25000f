"""Functions that several commands share."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from homeo_rl.errors import UsageError
from homeo_rl.numerics.same_fields import make_plan as make_plan
from homeo_rl.storage.files import printable

if TYPE_CHECKING:
    from homeo_rl.exchange.exported_file import ExportedFile, ExportedFolder


def command_line(words: Sequence[str]) -> str:
    """Return the command line of a command, for the records of a run."""
    return shlex.join(["homeo-rl", *words])


def open_run(path: Path, modules: tuple[str, ...] = (), *, out: Path | None = None, which: str = "policy") -> Any:
    """Open a run folder, or a copy of a pretrained agent, and import its modules and ``modules``.

    With ``out``, the policies of the run, ``which`` among them, are copied there and the copy is opened, so that
    nothing is written into the run. The modules may register environments, degradations and mechanisms.
    """
    from homeo_rl.envs.make import load_modules
    from homeo_rl.run import Run, copy_run
    from homeo_rl.storage.pretrained import FOLDER, list_pretrained

    shipped = not (path / "run.json").exists() and str(path) in list_pretrained()
    run = Run.open(FOLDER / path if shipped and out is not None else path)
    if out is not None:
        run.load_policy(which=which)  # raises where there is none
        run = copy_run(run, out, which=which)
    run = Run(run.path, replace(run.spec, modules=tuple(dict.fromkeys((*run.spec.modules, *modules)))))
    load_modules(run.spec.modules)
    return run


def host_request(args: Any, words: Sequence[str]) -> Any:
    """Return what flags say of a policy of another tool, as a `homeo_rl.workflows.hosts.HostRequest`."""
    from homeo_rl.training.params import parse_params
    from homeo_rl.workflows.hosts import HostRequest

    return HostRequest(
        env=args.env,
        env_kwargs=parse_params(args.env_kwargs, "--env-kwargs"),
        agent=args.agent,
        agent_kwargs=parse_params(args.agent_kwargs, "--agent-kwargs"),
        normalize_from=args.normalize_from,
        reading=parse_params(getattr(args, "nir_options", ()), "--nir-options"),
        modules=args.gym_packages,
        command=command_line(words),
    )


@contextmanager
def open_policy(args: Any, words: Sequence[str], out: Path | None = None, *, refused: str = "") -> Iterator[Any]:
    """Yield the run that a command names, or one that is made of the policy it names (`homeo_rl.workflows.hosts`).

    Such a run is made at ``out``, else in ``runs``; if the command fails before an evaluation, nothing is left of it.
    The flag ``refused`` is one that a run does not take, besides those of a policy's file.
    """
    from homeo_rl.workflows.hosts import kind_of, name_of, using_host

    host = str(args.run)
    if kind_of(host) is None:
        for flag in filter(None, (refused, "env_kwargs", "agent", "agent_kwargs", "normalize_from")):
            if getattr(args, flag):
                name = f"--{flag.replace('_', '-')}"
                raise UsageError(f"{name}: expected the file of a policy, got a run, which knows its own; leave it out")
        yield open_run(args.run, args.gym_packages, out=out, which=args.which)
        return

    request = host_request(args, words)
    with using_host(host, out or Path("runs") / name_of(host), request) as run:
        yield run


def next_flags(env: str, suite: str) -> list[str]:
    """Return the flags of an evaluation that fit an environment."""
    suite = "navigation-paper" if env.startswith("homeo_rl/Navigation") else suite
    return ["--suite", suite, "--homeostasis", "none,dwam"]


def print_next(*words: object) -> None:
    """Print the command that usually follows, quoted for a shell."""
    from homeo_rl.cli.console import print_hint

    print_hint(f"next: {command_line([str(word) for word in words])}")


def print_report(report: Any, title: str) -> None:
    """Print the tables of an evaluation."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.report.contrasts import contrast_rows
    from homeo_rl.report.tables import HARMED, cell_rows, difference_rows, drive_rows, legend_of, reflex_rows

    print_table(f"{title}; return: IQM [95 % interval]", *cell_rows(report.cells))
    print(f"{legend_of(report.cells)}.")
    for note in report.notes:
        print(f"note: {printable(note, 600)}")
    header, drives = drive_rows(report.cells)
    if drives:
        print_table("outcomes of the navigation episodes", header, drives)
    header, reflexes = reflex_rows(report.cells)
    if reflexes:
        print_table("activity of the reflex", header, reflexes)
    if report.differences:
        print_table("against none, paired by episode, all damaged conditions", *difference_rows(report.differences))
        print(f"{HARMED}.")
    for arm in dict.fromkeys(contrast.arm for contrast in report.contrasts):
        chosen = [contrast for contrast in report.contrasts if contrast.arm == arm]
        title = f"{chosen[0].first} minus {chosen[0].second}, each with its control: {chosen[0].what}, {arm}"
        print_table(title, *contrast_rows(chosen))
        for contrast in chosen:
            print(f"{contrast.label}: {contrast.reading}.")


def print_doubt(env: str, returns: Sequence[float]) -> None:
    """Print a note if the mean of some clean returns is near that of random actions."""
    from homeo_rl.cli.console import print_hint
    from homeo_rl.report.baselines import TRAINED, baseline_of

    baseline = baseline_of(env.rpartition(":")[2])
    if baseline is None or not returns:
        return
    mean = sum(returns) / len(returns)
    if baseline.normalise(mean) < TRAINED:
        print_hint(
            f"note: return {mean:,.1f} is {baseline.normalise(mean):.2f} of the way from random to the best known "
            f"return ({baseline.describe()}); the policy counts as untrained, train longer"
        )


def whole_numbers(text: str, flag: str) -> tuple[int, ...]:
    """Return the numbers of a flag such as ``1,2,4``. Raises UsageError: the text has another form."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{flag}: expected whole numbers separated by commas, got {text!r}") from None


def check_target(out: Path, *, folder: bool) -> None:
    """Check that something can be written to ``out``.

    Raises:
        UsageError: it is a folder where a file is wanted, or holds something where a new folder is.
    """
    if not folder and out.is_dir():
        raise UsageError(f"{out}: expected a file to write, found a folder; choose another --out")
    if folder and ((out.is_dir() and any(out.iterdir())) or out.is_file()):
        raise UsageError(f"{out}: expected a new or empty folder, found something there; choose another --out")


def write_exported(out: Path, exported: "ExportedFile | ExportedFolder") -> int:
    """Write what an exporter gives, all of it or nothing, and return its bytes."""
    from homeo_rl.exchange.exported_file import ExportedFile
    from homeo_rl.storage import bundle

    out.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(exported, ExportedFile):
        bundle.replace(out, exported.blob)
        return len(exported.blob)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        for name, blob in exported.files.items():
            path = Path(scratch) / "new" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
        if out.is_dir():
            out.rmdir()
        (Path(scratch) / "new").rename(out)
    return sum(map(len, exported.files.values()))
