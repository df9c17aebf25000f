"""The folder of a sweep: one result a cell, one process a claim; runs as archives; tables."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_calls import (
    cell_of,
    write_sweep,
)

from homeo_rl.errors import StorageFault
from homeo_rl.storage import bundle
from homeo_rl.sweeps.run_archive import pack, unpack
from homeo_rl.sweeps.store import DeterminismAlarm, Store
from homeo_rl.sweeps.sweep import plan_of
from homeo_rl.sweeps.table import rows_of


def test_the_first_result_stands_and_another_one_is_an_alarm(tmp_path: Path) -> None:
    cell, store = cell_of(tmp_path), Store(tmp_path / "out")
    store.open()
    mine = {"config": cell.config, "code": cell.code, "training": {"digest": "a"}}
    assert store.result(cell) is None
    assert store.commit(cell, mine)
    assert not store.commit(cell, dict(reversed(mine.items()))), "the order of keys is not a difference"
    with pytest.raises(DeterminismAlarm, match=rf"determinism alarm: cell {cell.key} \(learning_rate=0.001 seed=0\)"):
        store.commit(cell, {**mine, "training": {"digest": "b"}})
    assert store.result(cell) == mine
    (other,) = (tmp_path / "out" / "cells").glob("*.differs-*.json")
    assert bundle.read_json(other)["training"] == {"digest": "b"}
    assert not list((tmp_path / "out" / "cells").glob(".*")), "no temporary file is left"
    (tmp_path / "out" / "cells" / f"{cell.key}.json").write_text('{"config": {}}')
    with pytest.raises(StorageFault, match="another one's"):
        store.result(cell)


def test_of_many_that_commit_at_once_one_wins(tmp_path: Path) -> None:
    cell, store = cell_of(tmp_path), Store(tmp_path / "out")
    store.open()
    for number in range(20):
        one = replace(cell, key=f"{number:016x}")
        with ThreadPoolExecutor(8) as pool:
            wins = list(pool.map(lambda _, one=one: store.commit(one, {"config": 1}), range(8)))
        assert sum(wins) == 1


def test_a_claim_is_one_process_and_dies_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.open()
    code = "import sys, time; from pathlib import Path; from homeo_rl.sweeps.store import Store\n"
    code += "with Store(Path(sys.argv[1])).claim('k') as mine: print(mine, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with store.claim("k") as mine:
            assert not mine
        with store.claim("another") as mine:
            assert mine
        other.kill()
    with store.claim("k") as mine:
        assert mine


def test_a_run_travels_whole_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "run" / "policy").mkdir(parents=True)
    (tmp_path / "run" / "policy" / "weights").write_bytes(b"w" * 1000)
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "big").write_bytes(b"c")
    (tmp_path / "run" / "link").symlink_to("/etc/passwd")
    unpack(pack(tmp_path / "run"), tmp_path / "copy")
    assert [path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()] == [
        Path("policy/weights")
    ]
    for name in ("../outside", str(tmp_path / "outside")):
        held = io.BytesIO()
        with zipfile.ZipFile(held, mode="w") as archive:
            archive.writestr("policy/weights", b"w")
            archive.writestr(name, b"")
        for evil in (held.getvalue(), held.getvalue()[:-10]):
            with pytest.raises(StorageFault, match="could not be unpacked"):
                unpack(evil, tmp_path / "evil")
        assert not (tmp_path / "outside").exists()
        assert not (tmp_path / "evil").exists()
        assert not (tmp_path / ".evil.new").exists()


def test_tables_do_not_depend_on_order(tmp_path: Path) -> None:
    cells = plan_of(write_sweep(tmp_path, seeds=4)).cells
    told = {
        cell.key: {"evaluation": {"cells": [{"arm": "none", "label": "clean", "mean": float(place), "success": None}]}}
        for place, cell in enumerate(cells)
    }
    rows = rows_of(cells, told)
    assert [(row.choice["params.learning_rate"], row.seeds, row.mean) for row in rows] == [
        (1e-3, 4, 3.0),
        (3e-4, 4, 4.0),
    ]
    assert (rows[0].iqm, rows[0].least, rows[0].most) == (3.0, 0.0, 6.0)
    assert rows_of(cells, dict(reversed(told.items()))) == rows
    del told[cells[0].key]
    assert [row.seeds for row in rows_of(cells, told)] == [3, 4]
