"""The text form of specifications, regular expressions, YAML documents, and the command."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from homeo_rl.cli import main
from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.certify import certify
from homeo_rl.compiler.language import FUNCTIONS, parse_function
from homeo_rl.compiler.regular import automaton_of
from homeo_rl.compiler.specification import read_document
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.storage import load_compiled
from homeo_rl.errors import UsageError
from homeo_rl.run import Run

a, b, c = (sf.Line(name) for name in "abc")
KNOWN = {"a": a, "b": b, "c": c}


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("a", a),
        ("a -> hold(4)", sf.Hold(a, 4)),
        ("count(a, 2, window=3) -> hold(4) -> rising()", sf.Rising(sf.Hold(sf.Count(a, 2, 3), 4))),
        ("latch(a, not b)", sf.Latch(a, sf.Not(b))),
        ("a -> latch(b)", sf.Latch(a, b)),
        ("a & !b[2] | c", sf.Any((sf.All((a, sf.Not(sf.Delay(b, 2)))), c))),
        ("a and b and c", sf.All((a, b, c))),
        ("a | b or c", sf.Any((a, b, c))),
        ("(a or b) and c", sf.All((sf.Any((a, b)), c))),
        ("a xor b", sf.Table((a, b), 1, (False, True, True, False))),
        ("toggle(a)", sf.Toggle(a)),
        ("delay(a, steps=3)", sf.Delay(a, 3)),
        ("refractory(a, 3)", sf.Refractory(a, 3)),
        ("sequence(a, b, c)", sf.All((sf.Delay(a, 2), sf.Delay(b, 1), c))),
        ("atleast(2, a, b, c)", sf.AtLeast((a, b, c), 2)),
        ("all(a, b)", sf.All((a, b))),
        ("any(a, b)", sf.Any((a, b))),
        ("winner(1, a, b, window=5)", sf.Winner((a, b), 1, 5)),
        ("every(a, 6)", sf.Every(a, 6, (5,))),
        ("every(a, 6, keep=[0, 3])", sf.Every(a, 6, (0, 3))),
        ("table('0110', a, b)", sf.Table((a, b), 1, (False, True, True, False))),
        ("table(bits='0x6', a, window=2)", sf.Table((a,), 2, (False, True, True, False))),
        ("always", sf.Constant(True)),
    ],
)
def test_texts(text, node):
    assert parse_function(text, KNOWN) == node


def test_every_function_is_tested_above():
    here = test_texts.pytestmark[0].args[1]
    assert set(FUNCTIONS) - {"match"} <= {word for text, _ in here for word in re.findall(r"\w+", text)}


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("count(a 2, window=3)", 9, "expected ')' or ',', got '2'"),
        ("cont(a, 2)", 1, "did you mean 'count'"),
        ("count(a, 2)", 1, "expected window for count, as in count(a, least=3, window=3)"),
        ("bb -> hold(3)", 1, "unknown signal 'bb'"),
        ("a ->", 5, "expected a call such as hold(4)"),
        ("a hold(3)", 3, "expected '->', 'and', 'or', 'xor', '[' or the end, got 'hold'"),
        ("count(a, 5, window=3)", 1, "1 to 3 spikes"),
        ("a and", 6, "expected a signal"),
        ("(a", 3, "')'"),
        ("a[b]", 3, "a whole number"),
        ("a % b", 3, "an operator"),
        ("table('011', a, b)", 1, "4 digits 0 or 1"),
        ("table('0xff', a, b)", 1, "hexadecimal"),
        ("table('0', a, b, c, window=8)", 1, "at most 20"),
        ("hold(a, 3, 4)", 1, "at most 1 numbers"),
        ("latch(a)", 1, "2 signal(s)"),
        ("winner(5, a, b, window=3)", 1, "a place of 0 to 1"),
        ("hold(a, steps='x')", 1, "texts where texts belong"),
        ("count(a, least=2, size=3)", 19, "least or window before '='"),
        ("every(a, 3, keep=[0 1])", 21, "',' or ']'"),
        ("", 1, "expected a signal"),
        ("delay(a, 99)", 1, "0 to 61 steps"),
        ("match('1(0', a)", 1, "position 4: expected ')'"),
        ("match('1[q]', a)", 1, "conditions on lines a"),
        ("match('1{3', a)", 1, "a number of times"),
    ],
)
def test_errors_show_the_place_and_the_words(text, position, message):
    with pytest.raises(UsageError) as told:
        parse_function(text, KNOWN)
    assert f"position {position}: " in str(told.value)
    assert message in str(told.value)
    assert len(str(told.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("pattern", "as_python"),
    [
        (".* 1 1 0{2,3}", ".*110{2,3}"),
        ("(0|1 1)*", "(0|11)*"),
        ("1? (0 1)+", "1?(01)+"),
        ("1{3} .*", "1{3}.*"),
        ("0{2,} 1", "0{2,}1"),
        ("(1 0?){2} (0 | 1 1){1,2}", "(10?){2}(0|11){1,2}"),
        ("()", ""),
    ],
)
def test_patterns_are_pythons(pattern, as_python):
    spec = SpikeFunction(("a",), (("m", automaton_of(pattern, [a])),))
    trains = np.random.default_rng(0).random((60, 14, 1)) < 0.5
    words = ["".join("01"[int(bit)] for bit in train[:, 0]) for train in trains]
    expected = [[bool(re.fullmatch(as_python, word[: t + 1])) for t in range(14)] for word in words]
    assert np.array_equal(spec.run(trains)[..., 0], expected)
    compiled = compile_function(spec)
    assert certify(compiled.network, spec).equal


def test_patterns_over_lines():
    spec = SpikeFunction(("a", "b"), (("m", automaton_of("([a & !b] | [b])* [a & b]+", [a, b])),))
    trains = np.random.default_rng(0).random((60, 10, 2)) < 0.5
    words = ["".join("nabc"[int(s[0]) + 2 * int(s[1])] for s in train) for train in trains]
    expected = [[bool(re.fullmatch("[abc]*c+", word[: t + 1])) for t in range(10)] for word in words]
    assert np.array_equal(spec.run(trains)[..., 0], expected)


DOOR = """
name: door
inputs: [knock, lock]
machines:
  door:
    start: shut
    states:
      shut: [{when: knock and not lock, next: open, spike: true}]
      open: [{when: lock, next: shut}, {when: knock, spike: true}]
define:
  often: count(door, 2, window=4)
outputs:
  opened: door
  busy: often -> hold(3)
neurons: {beta: 9/10, reset: hard, target: unit}
"""


def test_a_document_with_machines_functions_and_outputs(tmp_path):
    path = tmp_path / "door.yml"
    path.write_text(DOOR)
    document = read_document(path)
    spec = document.function()
    compiled = compile_function(spec, document.neurons.neurons())
    assert certify(compiled.network, spec).equal
    knock = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0, 0])
    lock = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    said = spec.run(np.stack([knock, lock], 1)[None].astype(bool))[0].astype(int)
    assert said[:, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 0, 0, 0]
    assert said[:, 1].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("start: shut", "start: sht", "did you mean 'shut'"),
        ("next: open", "next: opn", "did you mean 'open'"),
        ("when: lock,", "when: 'lock[1]',", "this step's inputs"),
        ("count(door", "count(dor", "did you mean 'door'"),
        ("often: count", "door: count", "this one is taken"),
        ("busy: often", "'1 busy': often", "letters, digits"),
        ("[knock, lock]", "[knock, knock]", "there twice"),
        ("beta: 9/10", "beta: nine", "7/8 or 0.875"),
        ("define:", "defines:", "did you mean 'define'"),
        ("outputs:", "outputs: [", "expected YAML"),
    ],
)
def test_documents_that_are_not_sound(tmp_path, capsys, old, new, message):
    path = tmp_path / "door.yml"
    assert old in DOOR
    path.write_text(DOOR.replace(old, new))
    with pytest.raises(SystemExit) as stopped:
        main(["compile", str(path), "--out", str(tmp_path / "out"), "--draw", str(tmp_path / "x.svg")])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in told
    assert len(told.splitlines()) <= 3
    assert [p.name for p in tmp_path.iterdir()] == ["door.yml"]


def test_the_command(tmp_path, capsys):
    out, graph, raster = tmp_path / "run", tmp_path / "graph.svg", tmp_path / "raster.png"
    words = ["compile", "count(prox, 2, window=3) -> hold(4)", "--inputs", "prox", "--beta", "0.875", "--reset", "soft"]
    words += ["--target", "unit", "--minimise", "neurons", "--certify", "--json"]
    main([*words, "--out", str(out), "--draw", str(graph), "--raster", str(raster)])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["neurons"], told["weights"], told["latency"], told["certificate"]) == (2, 13, 1, "equal")
    assert told["bounds"]["neurons_at_most"] == 3
    assert graph.read_text().startswith("<?xml")
    assert raster.read_bytes().startswith(b"\x89PNG")
    network, document, rest = load_compiled(Run.open(out))
    assert document.outputs == {"out": "count(prox, 2, window=3) -> hold(4)"}
    assert rest["certificate"] == "equal"
    spec = document.function()
    trains = np.random.default_rng(0).random((20, 50, 1)) < 0.4
    import torch

    spikes = network.run(torch.as_tensor(trains, dtype=torch.float32)).bool().numpy()
    assert np.array_equal(spikes[:, 1:, network.spec.outputs[0]], spec.run(trains)[:, :-1, 0])
    with pytest.raises(SystemExit):  # what is there is not overwritten
        main([*words, "--out", str(out)])
    assert "expected a new or empty folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", str(out)])
    assert "homeo-rl compose" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "--inputs"),
        (["a", "--inputs", "a,a"], "there twice"),
        (["a", "--inputs", "a", "--beta", "2"], "leak of 0 to 1"),
        (["a", "--inputs", "a", "--reset", "sft"], "one of soft"),
        (["a", "--inputs", "a", "--target", "flat"], "one of unit, layered"),
        (["a", "--inputs", "a", "--minimise", "money"], "neurons or weights"),
        (["navigation-brake", "--inputs", "a"], "beside a file"),
        (["none.yml"], "expected a YAML file, found none"),
        (["a", "--inputs", "a", "--draw", "picture.bmp"], "svg"),
    ],
)
def test_wrong_command_lines(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["compile", *words, "--out", "out"])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
