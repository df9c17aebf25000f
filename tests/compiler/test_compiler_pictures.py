"""Pictures of compiled networks: what they say, that they are the same at every call, and that nothing overlaps."""

import itertools
import time
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from homeo_rl.compiler.lowering import Neurons, SpikingCircuit, Synapse, lower
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.signals import All, Any, Count, Every, Latch, Line, Not, Refractory, Table, Toggle, Winner
from homeo_rl.compiler.simulate import outputs
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.synthesis import synthesise
from homeo_rl.errors import UsageError
from homeo_rl.report.circuits import draw_graph
from homeo_rl.report.rasters import draw_raster


def one() -> SpikeFunction:
    x = Line("prox")
    return SpikeFunction(("prox",), (("brake", Latch(Count(x, 2, 3), Not(Count(x, 1, 4)))),))


def many() -> SpikeFunction:
    left, front, right, goal = (Line(name) for name in ("left", "front", "right", "goal"))
    near = (left, front, right)
    return SpikeFunction(
        ("left", "front", "right", "goal"),
        (
            ("brake", Latch(Count(front, 2, 3), Not(Count(front, 1, 4)))),
            ("turn_left", Winner(near, 2, 3)),
            ("turn_right", Winner(near, 0, 3)),
            ("cruise", Refractory(All((goal, Not(Any(near)))), 3)),
            ("blink", Toggle(goal)),
            ("sixth", Every(front, 6, (5,))),
        ),
    )


def table() -> SpikeFunction:
    names = ("s0", "s1")
    bits = np.random.default_rng(0).integers(0, 2, 2**10).astype(bool)
    return SpikeFunction(names, (("fire", Table((Line("s0"), Line("s1")), 5, tuple(bits.tolist()))),))


FUNCTIONS = {"one": one, "many": many, "table": table}


def circuit(name: str, **neurons: object) -> SpikingCircuit:
    return lower(synthesise(FUNCTIONS[name](), Objective()), Neurons(**{"beta": Fraction(7, 8), **neurons}))


def train(function: SpikeFunction, steps: int = 50) -> np.ndarray:
    return np.random.default_rng(1).random((steps, len(function.lines))) < 0.35


def texts(path: Path) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter() if node.tag.endswith("}text")]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts that lie on each other, and texts that are cut off."""
    figure.canvas.draw()
    found = [(t.get_text(), t.get_window_extent()) for t in figure.axes[0].texts if t.get_text()]
    pairs = [(a, b) for (a, p), (b, q) in itertools.combinations(found, 2) if p.padded(-0.5).overlaps(q)]
    whole = figure.bbox
    return pairs + [(a, "edge") for a, p in found if p.x0 < 0 or p.y0 < 0 or p.x1 > whole.x1 or p.y1 > whole.y1]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    seen: list[Figure] = []
    save = Figure.savefig

    def remember(figure: Figure, *args: object, **kwargs: object) -> None:
        seen.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return seen


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".SVG"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pictures_are_the_same_at_every_call(tmp_path: Path, name: str, suffix: str) -> None:
    net, function = circuit(name), FUNCTIONS[name]()
    x = train(function)
    expected = function.run(x[None])[0]
    for k in "ab":
        assert draw_graph(net, tmp_path / f"{k}{suffix}", title=name) == tmp_path / f"{k}{suffix}"
        to = tmp_path / f"{k}-raster{suffix}"
        assert draw_raster(net, x, to, title=name, expected=expected) == to
    for what in ("", "-raster"):
        first, second = ((tmp_path / f"{k}{what}{suffix}").read_bytes() for k in "ab")
        assert len(first) > 1000
        assert first == second
        head = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix.lower()]
        assert first.startswith(head)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_svg_names_every_line_and_output(tmp_path: Path, name: str) -> None:
    net, function = circuit(name), FUNCTIONS[name]()
    graph = texts(draw_graph(net, tmp_path / "graph.svg", title="the title"))
    raster = texts(draw_raster(net, train(function), tmp_path / "raster.svg", title="the title"))
    for said in (graph, raster):
        assert {*function.lines, *function.names, "the title"} <= set(said)
    assert "clock" in graph
    assert f"latency {net.latency}" in raster


def test_graph_of_one_neuron_says_all_of_its_synapses(tmp_path: Path) -> None:
    net = circuit("one")
    assert net.neurons == 1
    said = " ".join(texts(draw_graph(net, tmp_path / "graph.svg", title="")))
    assert "latch" in said
    for s in net.synapses:  # one of equal ones in a row may stand for the others
        assert f"{float(s.weight):+.4g} @" in said
    assert "+6.875 @1, -5.25 @2" in said  # two synapses of a pair in one label


def test_equal_notes_are_numbered_and_large_networks_have_no_labels(tmp_path: Path) -> None:
    small = texts(draw_graph(circuit("many"), tmp_path / "many.svg", title=""))
    assert {"to 1 of 2", "carry of 2"} <= {text.split(" #")[0] for text in small}
    assert any("@1" in text for text in small)
    large = texts(draw_graph(circuit("table"), tmp_path / "table.svg", title=""))
    assert not any("@" in text for text in large)
    numbered = [text for text in large if "#" in text]
    assert len(numbered) == len(set(numbered)) > 20


@pytest.mark.parametrize("reset", ["soft", "hard", "soft_next"])
@pytest.mark.parametrize("target", ["unit", "layered"])
@pytest.mark.parametrize("delays", ["synaptic", "relays"])
@pytest.mark.parametrize("name", ["one", "many"])
def test_no_text_overlaps_or_is_cut_off(
    tmp_path: Path, figures: list[Figure], name: str, reset: str, target: str, delays: str
) -> None:
    net, function = circuit(name, reset=reset, target=target, delays=delays), FUNCTIONS[name]()
    if net.neurons <= 60:
        draw_graph(
            net, tmp_path / "graph.png", title="A title that is longer than a picture of one neuron is wide " * 2
        )
    draw_raster(net, train(function, 12), tmp_path / "raster.png", title="spikes")
    for figure in figures:
        assert overlaps(figure) == []


def test_a_hundred_and_fifty_neurons_take_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(150 * 161)[:3000]
    wires = tuple(Synapse(int(k % 161) - 1, int(k // 161), 1, Fraction(int(k % 7) - 3 or 1, 4)) for k in pairs)
    names = tuple(f"line {i}" for i in range(10))
    net = SpikingCircuit(names, Fraction(1, 2), "soft", "unit", ("",) * 150, (0,) * 150, wires, (("out", 149),), 1)
    begin = time.perf_counter()
    said = texts(draw_graph(net, tmp_path / "graph.svg", title=""))
    draw_raster(net, rng.random((200, 10)) < 0.2, tmp_path / "raster.png", title="")
    assert time.perf_counter() - begin < 20
    assert {*names, "clock", "out"} <= set(said)


def test_raster_compares_with_what_is_expected(tmp_path: Path) -> None:
    net, function = circuit("many"), many()
    x = train(function)
    expected = function.run(x[None])[0]
    assert net.latency > 0
    assert np.array_equal(outputs(net, x[None])[0], expected)
    said = texts(draw_raster(net, x, tmp_path / "right.svg", title="", expected=expected))
    assert "outputs that differ from what is expected: 0 of 300" in said
    assert "differs" not in said
    expected[[3, -1], [0, 2]] ^= True
    said = texts(draw_raster(net, x, tmp_path / "wrong.svg", title="", expected=expected))
    assert "outputs that differ from what is expected: 2 of 300" in said
    assert "differs" in said


def test_odd_names_and_lonely_neurons(tmp_path: Path) -> None:
    """Neither formulas nor markup in names; a neuron without synapses; a train of one step."""
    net = SpikingCircuit(
        ("$a_1", "<b> & $"), Fraction(0), "hard", "layered", ("",), (2,), (), (('"out" --', 0), ("again", 0)), 0
    )
    for said in (
        texts(draw_graph(net, tmp_path / "graph.svg", title="$\\no{formula")),
        texts(draw_raster(net, np.ones((1, 2)), tmp_path / "raster.svg", title="$\\no{formula")),
    ):
        assert {"$a_1", "<b> & $", '"out" --', "again", "neuron", "$\\no{formula"} <= set(said)


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.svg.txt"])
def test_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    net = circuit("one")
    for draw in (
        lambda: draw_graph(net, tmp_path / name, title=""),
        lambda: draw_raster(net, np.zeros((4, 1)), tmp_path / name, title=""),
    ):
        with pytest.raises(UsageError, match=r"\.svg, \.png, \.pdf"):
            draw()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "expected", "what"), [((4, 2), (4, 1), "trains"), ((0, 1), (0, 1), "trains"), ((4, 1), (3, 1), "outputs")]
)
def test_spikes_of_another_shape_are_refused(
    tmp_path: Path, shape: tuple[int, int], expected: tuple[int, int], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        draw_raster(circuit("one"), np.zeros(shape), tmp_path / "a.svg", title="", expected=np.zeros(expected))
    assert list(tmp_path.iterdir()) == []
