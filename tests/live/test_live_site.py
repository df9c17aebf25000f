"""Building the page: what is refused and how, third-party packages, and parts of a mechanism that are switched off."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from c_controller import make_small_run
from cli_calls import call

from homeo_rl.agents.controller import load_controller
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.evaluation.calibrate import calibrate
from homeo_rl.exchange.c.description import describe
from homeo_rl.exchange.c.source import write_policy
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.live import packages, site
from homeo_rl.live.packages import Package, read_package
from homeo_rl.live.robots import BODIES, SEEDS, describe_environment
from homeo_rl.live.site import ARM, as_script

PAGE = Path(site.__file__).parent / "page"


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site, "COMPILER", "emcc-that-is-nowhere")
    _, error = call("live", "popsan-ant-0", "--out", tmp_path / "page", code=2, capsys=capsys)
    assert "apt-get install emscripten" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "page").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note").write_text("kept")
    _, error = call("live", "popsan-ant-0", "--out", tmp_path, code=2, capsys=capsys)
    assert "new or empty folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_environments_that_the_page_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown environment of a live page 'Humanoid-v5'"):
        describe_environment("Humanoid-v5", {})
    with pytest.raises(UsageError, match="without xml_file"):
        describe_environment("Ant-v5", {"xml_file": "ant.xml"})


def test_the_showcase_is_made_of_this_page() -> None:
    """After a change of the page: make live LIVE=docs/showcase."""
    showcase = Path(__file__).parents[2] / "docs" / "showcase"
    assert sum(path.stat().st_size for path in showcase.rglob("*") if path.is_file()) < 15_000_000
    for name in set(site.PAGE) - {"index.html"}:
        assert (showcase / name).read_bytes() == (PAGE / name).read_bytes(), name
    before, after = (PAGE / "index.html").read_text().split("<!-- robots -->")
    page = (showcase / "index.html").read_text()
    assert page.startswith(before)
    assert page.endswith(after)
    robots = re.findall(r'src="(robots/[a-z_0-9]+\.js)"', page)
    assert robots == [f"robots/{name}.js" for name in ("popsan_halfcheetah_0", "popsan_ant_0", "navigation_san")]
    assert all((showcase / name).read_text().startswith("live.robots.push(") for name in robots)


def test_every_body_has_a_row_and_all_scripts_are_on_the_page() -> None:
    rows = re.findall(r'^  "([\w-]+)": \{', (PAGE / "bodies.js").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(BODIES)
    scripts = re.findall(r'<script src="([\w-]+\.js)">', (PAGE / "index.html").read_text())
    assert set(scripts) == {name for name in site.PAGE if name.endswith(".js")} | {
        "mujoco.js", "mujoco-wasm.js", "three.js",
    }  # fmt: skip
    assert {path.name for path in PAGE.iterdir()} == {*site.PAGE, "live.c"}


def test_starts_are_those_of_the_environment() -> None:
    robot = describe_environment("Hopper-v5", {"forward_reward_weight": 2.0})
    assert len(robot["starts"]) == SEEDS
    assert robot["rules"]["forward_reward_weight"] == 2.0
    assert robot["limit"] == 1000


def archive() -> bytes:
    blob = io.BytesIO()
    with tarfile.open(fileobj=blob, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/a.js")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"42"))
    return blob.getvalue()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package in the cache, and a registry that no one can reach."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    blob = archive()
    folder = tmp_path / "homeo-rl" / "npm"
    folder.mkdir(parents=True)
    (folder / "thing-1.0.0.tgz").write_bytes(blob)
    return Package(
        name="@some/thing", version="1.0.0", licence="MIT", sha512=b64encode(hashlib.sha512(blob).digest()).decode()
    )


def test_a_cached_package_needs_no_network(package: Package) -> None:
    assert read_package(package) == {"a.js": b"42"}


def test_another_file_in_the_cache_is_not_used(package: Package, tmp_path: Path) -> None:
    path = tmp_path / "homeo-rl" / "npm" / "thing-1.0.0.tgz"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StorageFault, match=r"127\.0\.0\.1:9/@some/thing/-/thing-1\.0\.0\.tgz: cannot be read .*copy"):
        read_package(package)


def test_another_file_of_the_registry_is_refused(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.urllib.request, "urlopen", lambda *words, **flags: io.BytesIO(archive() + b" "))
    with pytest.raises(StorageFault, match="expected the SHA-512 sum"):
        read_package(replace(package, version="1.0.1"))


def test_modules_become_one_script() -> None:
    core = "class A {}\nconst b = 2;\nexport { A, b as B };\n"
    module = (
        "import { A, B as inner } from './core.js';\nexport { A, B } from './core.js';\n"
        "const c = inner + 1;\nexport { A, c as C };\n"
    )
    script = as_script(core, module)
    assert "const { A: A, B: inner } = core;" in script
    assert "return { ...core, ...{ C: c } };" in script
    with pytest.raises(StorageFault, match="three: expected a module"):
        as_script(core, module + "import './other.js';\n")


SWITCHED_OFF = {
    "rules", "zeta", "window", "rates", "rehearsals", "rate", "least", "eta_awake", "healthy", "square", "reference",
    "eta", "bound", "guard",
}  # fmt: skip
"""Fields that live.c clears, and those that are read by the rules only."""


def test_a_controller_with_dwam_switched_off_is_the_one_exported_with_sleep(tmp_path: Path) -> None:
    """The two policies differ in no table and no number but those of the rule that live.c switches off."""
    run = make_small_run(tmp_path / "small")
    controller = load_controller(run)
    calibration = calibrate(run, controller, which="policy", episodes=1)
    fields = []
    for arm in (ARM, "sleep"):
        plugin = make_homeostasis(arm)
        network = controller.network
        made = describe(controller, plugin, calibration.references(network), calibration.memory(network))
        text = write_policy(made, "small")[1]
        entries = re.findall(r"\.(\w+) = (?!\s*\{)([^,;}\n]+)", text)
        tables = dict(re.findall(r"(table_\w+)\[\d+\] = \{([^}]*)\}", text))
        del tables["table_layers"]  # its fields are among the entries
        fields.append([(name, tables.get(value, value)) for name, value in entries if name not in SWITCHED_OFF])
    assert len(fields[0]) > 30
    assert fields[0] == fields[1]
