"""One file of HTML: what it says, that it needs nothing else, and that untrusted names stay text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_report_runs import evaluate, synthetic, train

from homeo_rl.errors import StorageFault
from homeo_rl.report.page import Damage, collect, write_page
from homeo_rl.report.page import page as page_module
from homeo_rl.run import Run
from homeo_rl.spec import ControllerSpec, EventSpec, GateSpec, NetworkSpec, RecurrentSpec, ReflexSpec
from homeo_rl.storage import bundle
from homeo_rl.storage.pretrained import FOLDER

FORMS = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}
HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"><img src=x onerror=alert(1)>' style=x"


class Reader(HTMLParser):
    """What a browser would find: tags with their attributes, and the text of headings and paragraphs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def ids(self) -> list[str]:
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]


def write(runs: list[Run], tmp_path: Path, **more: Any) -> Reader:
    page = write_page(collect(runs), tmp_path / "page.html", **more)
    text = page.path.read_text()
    assert page.size == len(text.encode())
    return Reader(text)


def test_a_run_without_evaluation_has_its_curve_and_its_sources(tmp_path: Path) -> None:
    run = train(synthetic(tmp_path / "a", seed=3), {1000: [1.0, 3.0], 2000: [5.0, 9.0]})
    page = write([run], tmp_path)
    assert page.ids() == ["learning", "provenance"]
    assert "popsan: 7.00 after 2,000 steps, one seed (3), 2 episodes a point." in page.text
    assert "homeo-rl train --algo ppo" in page.text
    assert "Trained 2026-01-01 (UTC)" in page.text, "the date is the monitors'"
    assert "abababababab" in page.text


def test_a_page_is_the_same_bytes_and_knows_no_path(tmp_path: Path) -> None:
    runs = [evaluate(train(synthetic(tmp_path / n, seed=k), {10: [1.0, 2.0]})) for k, n in enumerate("ab")]
    first = write_page(collect(runs), tmp_path / "1.html").path.read_bytes()
    assert write_page(collect(runs), tmp_path / "2.html").path.read_bytes() == first
    assert str(tmp_path.parent).encode() not in first


def test_reports_do_not_load_torch(tmp_path: Path) -> None:
    run = evaluate(train(synthetic(tmp_path / "a"), {10: [1.0, 2.0]}))
    code = (
        "import sys; from pathlib import Path; from homeo_rl.run import Run; "
        "from homeo_rl.report.page import collect, write_page; "
        "write_page(collect([Run.open(Path(sys.argv[1]))]), Path(sys.argv[2])); "
        "assert not {'torch', 'stable_baselines3', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(run.path), str(tmp_path / "p.html")], check=True)


def test_untrusted_names_stay_text(tmp_path: Path) -> None:
    """Hostile run, environment, agent, arm, condition, suite, command, damage, package: no tag or attribute of them."""
    hostile = {
        "env": HOSTILE, "agent": QUOTED, "algo": HOSTILE, "command": f"x {HOSTILE}", "versions": {HOSTILE: QUOTED},
    }  # fmt: skip
    run = train(synthetic(tmp_path / "<script>alert(1)<", **hostile), {10: [1.0, 2.0]})
    evaluate(
        run, arms={QUOTED: 10.0, HOSTILE: 5.0}, rename=lambda n: n + HOSTILE + QUOTED.replace('"', "'"), suite=QUOTED
    )
    suites = {"abc": {f"noisy{HOSTILE}" + QUOTED.replace('"', "'"): Damage(5, HOSTILE)}}
    page = write([run, train(synthetic(tmp_path / "b"), {10: [1.0, 2.0]})], tmp_path, suites=suites)
    assert HOSTILE in page.text, "escaped, it is shown"
    assert [tag for tag, _ in page.tags].count("script") == 1
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in FORMS & set(attributes):
            assert attributes[name].startswith(("data:", "#")), (tag, attributes)
    assert {tag for tag, _ in page.tags} <= TAGS


TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "nav", "p", "ul", "li", "button", "main", "header",
    "h1", "dl", "div", "dt", "dd", "section", "h2", "h3", "h4", "figure", "figcaption", "svg", "text", "path",
    "circle", "g", "line", "script", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "b", "small", "span",
    "colgroup", "col", "pre", "img", "picture", "source", "details", "summary", "label", "input", "output",
}  # fmt: skip


def test_nothing_is_fetched_and_one_known_script_runs(tmp_path: Path) -> None:
    page = write([evaluate(synthetic(tmp_path / "a"))], tmp_path)
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "script-src 'sha256-" in policy
    assert "http" not in policy
    folder = Path(page_module.__file__).parent / "templates"
    for template in folder.iterdir():
        text = template.read_text()
        assert "autoescape" not in text
        assert not re.search(r"\|\s*safe", text), template
        assert "url(" not in text
        assert "@import" not in text


def test_the_heat_map_prints_shares_of_the_clean_return(tmp_path: Path) -> None:
    run = evaluate(synthetic(tmp_path / "a"))
    (one,) = collect([run]).comparisons
    cell = next(c for c in one.cells if (c.arm, c.label) == ("dwam", "noisy"))
    page = write([run], tmp_path, suites={"abc": {"noisy": Damage(0, "obs-gaussian: std 0.1")}})
    assert one.clean is not None
    assert f"{cell.mean / one.clean:.2f} {cell.iqm:.1f} [{cell.ci_low:.1f}, {cell.ci_high:.1f}]" in page.text
    assert "noisy obs-gaussian: std 0.1" in page.text


def test_success_is_shown_where_there_is_one(tmp_path: Path) -> None:
    run = evaluate(
        synthetic(tmp_path / "a"), figures=lambda arm, c, e: {"success": int(e < (24 if arm == "dwam" else 15))}
    )
    page = write([run], tmp_path)
    assert "80 %" in page.text
    assert "success +30.0 points" in page.text


def test_reflex_and_certificate_are_shown(tmp_path: Path) -> None:
    reflex = ReflexSpec(
        name="brake", events=(EventSpec(entries=(0,), above=0.7),), outputs=("stop",),
        gates=(GateSpec(when="stop", kind="inhibit", entries=(0,)),), document={"outputs": {"stop": "hold(prox, 4)"}},
        network=RecurrentSpec(lines=1, neurons=1, taps=((0, 0),), layers=(0,), outputs=(0,)),
        certificate="equal for every infinite train, 25 states",
    )  # fmt: skip
    controller = ControllerSpec(
        network=NetworkSpec(inputs=3, outputs=2), low=(-1.0, 0.0), high=(1.0, 1.0), reflex=reflex
    )
    run = synthetic(tmp_path / "a", controller=controller)
    (run.path / "reflex.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    returns = [{"what": "the trained network", "iqm": 379.66, "low": 278.0, "high": 478.5}]
    certificate = {
        "exact": True,
        "states": 3761,
        "returns": returns,
        "diverged_at": [None, 4],
        "energy_converted_joules": 7.9e-8,
        "kept": [
            {
                "time_steps": 8,
                "levels": [15, 15],
                "largest_error": 0.25,
                "rms_error": 0.0625,
                "share": [0.99, 0.98, 1.01],
            },
            {"time_steps": 4, "levels": [3, 3], "largest_error": 0.5, "rms_error": 0.125, "share": None},
        ],
    }
    bundle.write_json(run.path / "certificate.json", certificate)
    page = write([run], tmp_path)
    assert "stop: hold(prox, 4)" in page.text
    assert "equal for every infinite train, 25 states" in page.text
    assert "at least 1 of the observation's entries 0 above 0.7" in page.text
    assert "Bit-identical." in page.text
    assert "379.7 [278.0, 478.5]" in page.text
    assert "1 of 2" in page.text
    assert "79 nJ" in page.text
    assert "99.0% [98.0%, 101.0%]" in page.text
    assert "0.25, 0.0625" in page.text


def observed(path: Path, **found: Any) -> Run:
    """Make an evaluation of an observer, whose alarms come 4 decisions after the onset in the condition "noisy"."""

    def figures(arm: str, condition: str, episode: int) -> dict[str, object]:
        if arm != "observer":
            return {}
        late = {"detected": 1, "detected_after": 4, "latency_right": 1} if condition == "noisy" else {}
        return {"openings": 1, "estimated": 0.25, **late}

    conditions = [{"name": "clean", "severity": 0.0}, {"name": "noisy", "degradations": [{"kind": "obs-delayed"}]}]
    run = evaluate(synthetic(path), arms={"observer": 300.0}, episodes=2, figures=figures, conditions=conditions)
    if found:
        (folder,) = (run.path / "evaluations").iterdir()
        cells = [{"arm": "observer", "condition": name, "episodes": each} for name, each in found.items()]
        bundle.write_json(folder / "diagnoses.json", {"cells": cells})
    return run


def test_what_an_observer_found_is_shown(tmp_path: Path) -> None:
    seen = {"alarm": 4, "identified": "latency", "latency": 1, "sensors": [[3, "noise", 0.5, 0.9]]}
    sound: dict[str, Any] = {"alarm": None, "identified": "nothing", "latency": 0, "sensors": []}
    run = observed(tmp_path / "a", clean=[sound, sound], noisy=[seen, {**seen, "sensors": []}])
    shutil.copytree(FOLDER / "popsan-halfcheetah-0" / "observer", run.path / "observer")
    page = write([run], tmp_path)
    assert "observer" in page.ids()
    assert "clean 0 % 25 %" in page.text, "no alarm, so no decisions until one"
    assert "noisy 100 % 4 100 % 25 % latency 1 in 2, noise in 1" in page.text
    assert "true nothing latency right nothing 2 0 2 latency 0 2 2" in page.text
    assert "Health card of the forward model" in page.text
    assert "0 0.912 0.0102 0.97" in page.text


def test_an_evaluation_without_diagnoses_shows_its_scores(tmp_path: Path) -> None:
    page = write([observed(tmp_path / "a")], tmp_path)
    assert "noisy 100 % 4 100 % 25 %" in page.text
    assert "observer" not in write([evaluate(synthetic(tmp_path / "b"))], tmp_path).ids()


def test_damaged_diagnoses_are_refused_by_name(tmp_path: Path) -> None:
    run = observed(tmp_path / "a", noisy=[{"alarm": 4}])
    with pytest.raises(StorageFault, match=r"diagnoses\.json: expected diagnoses"):
        write([run], tmp_path)


@pytest.mark.parametrize(
    ("name", "blob", "message"),
    [
        ("evaluations.npz", b"PK not an archive", "not a readable archive"),
        ("0.monitor.csv", b'#{"t_start": 1.0}\nr,l\n1,2\n', "expected a monitor table"),
        ("0.monitor.csv", b"r,l,t\n1,2,3\n", "not readable as JSON"),
        ("certificate.json", b'{"returns": [{"what": 1}], "diverged_at": []}', "expected a certificate"),
        ("evaluations/quick_1/paths.json", b'{"cells": [{"condition": "noisy"}]}', "expected paths"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, blob: bytes, message: str) -> None:
    run = evaluate(synthetic(tmp_path / "a"))
    (run.path / name).write_bytes(blob)
    with pytest.raises(StorageFault, match=message) as caught:
        write([run], tmp_path)
    assert name in str(caught.value)
