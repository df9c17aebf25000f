"""A format is one row of `EXPORTERS`: the command offers it, checks its flags and writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from cli_calls import call

from homeo_rl.cli.commands.import_ import Import
from homeo_rl.cli.parsing import parse
from homeo_rl.errors import UsageError
from homeo_rl.exchange.exported_file import ExportedFile
from homeo_rl.run import Run
from homeo_rl.workflows.exporters import EXPORTERS, Exporter, ExportOptions, check_options
from homeo_rl.workflows.importers import IMPORTERS


def test_a_new_format_is_offered_checked_and_written(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "policy.toy"
    monkeypatch.setitem(
        EXPORTERS,
        "toy",
        Exporter(lambda controller, run, options: ExportedFile(run.spec.env.encode(), ("a toy",)), ("spikes",)),
    )
    printed, _ = call("export", run.path, "--to", "toy", "--out", out, "--spikes", capsys=capsys)
    assert "a toy" in printed
    assert "left out" not in printed
    assert out.read_bytes() == b"toy_envs:Point-v0"
    _, message = call("export", run.path, "--to", "toyy", "--out", out, code=2, capsys=capsys)
    assert "did you mean 'toy'" in message
    _, message = call("export", run.path, "--to", "toy", "--out", out, "--dt", 1.0, code=2, capsys=capsys)
    assert "--dialect, --dt and --decay: expected --to nir, got --to toy; leave them out" in message
    _, message = call("export", run.path, "--to", "nir", "--out", out, "--spikes", code=2, capsys=capsys)
    assert "--spikes: expected --to onnx or --to toy, got --to nir; leave it out" in message


@pytest.mark.parametrize("target", EXPORTERS)
def test_every_format_takes_its_own_options_only(target: str) -> None:
    check_options(target, ExportOptions())
    for name, value in {"dt": 1e-4, "spikes": True}.items():
        if name in EXPORTERS[target].options:
            check_options(target, ExportOptions(**{name: value}))
        else:
            with pytest.raises(UsageError, match=f"got --to {target}"):
                check_options(target, ExportOptions(**{name: value}))


@pytest.mark.parametrize("target", EXPORTERS)
def test_every_format_names_what_it_leaves_out(target: str) -> None:
    line = f"left out: {EXPORTERS[target].leaves_out}"
    assert "homeostasis" in line
    assert len(line) <= 110


def test_the_command_prints_what_is_left_out(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("export", make_run().path, "--to", "safetensors", "--out", tmp_path / "p.safetensors")
    line = f"left out: {EXPORTERS['safetensors'].leaves_out}"
    assert line in call(*command, capsys=capsys)[0].splitlines()
    printed, _ = call(*command, "--json", capsys=capsys)
    assert f"left out: {json.loads(printed)['left_out']}" == line


@pytest.mark.parametrize("kind", IMPORTERS)
def test_every_importer_is_a_choice_of_the_command(kind: str) -> None:
    assert parse(Import, [kind, "file", "--env", "E", "--out", "o"]).kind == kind
    module, _, name = IMPORTERS[kind].function.partition(":")
    assert callable(getattr(import_module(module), name))
    with pytest.raises(UsageError, match=f"expected one of {', '.join(IMPORTERS)}, got 'popzan'"):
        parse(Import, ["popzan", "file", "--env", "E", "--out", "o"])
