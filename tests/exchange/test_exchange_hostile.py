"""NIR files of strangers: what is no graph, no chain, or an attack is refused with the reason, and costs little."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.errors import HomeoError, StorageFault, UsageError
from homeo_rl.exchange import hdf5, hdf5_walk
from homeo_rl.exchange.dialects import resolve_dialect
from homeo_rl.exchange.nir_graph import KEY, export_nir
from homeo_rl.exchange.nir_import import import_nir, read_graph
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.reference import forward_stepwise
from homeo_rl.spec import ControllerSpec, NetworkSpec

nir = pytest.importorskip("nir", reason="nir: not installed; pip install 'homeo-rl[nir]'")
h5py = pytest.importorskip("h5py", reason="h5py: not installed; pip install 'homeo-rl[nir]'")


class Still(gym.Env[np.ndarray, np.ndarray]):
    """Spaces without a world."""

    def __init__(self, sees: int = 3, acts: int = 2) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (sees,))
        self.action_space = gym.spaces.Box(-2.0, 2.0, (acts,))


def each(count: int, value: float) -> np.ndarray:
    return np.full(count, value)


def lif(count: int, **other: Any) -> Any:
    numbers = {"tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0, **other}
    return nir.LIF(**{key: each(count, value) if np.isscalar(value) else value for key, value in numbers.items()})


def cuba(count: int, **other: Any) -> Any:
    numbers = {
        "tau_syn": 2e-4, "tau_mem": 4e-4, "r": 4.0, "w_in": 2.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0,
        **other,
    }  # fmt: skip
    return nir.CubaLIF(**{key: each(count, value) if np.isscalar(value) else value for key, value in numbers.items()})


def weights(o: int, i: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).integers(-8, 24, (o, i)) / 16).astype(np.float32)


def chain(*nodes: Any) -> Any:
    return nir.NIRGraph.from_list(*nodes)


def usual(first: Any = None, last: Any = None) -> Any:
    return chain(nir.Linear(weights(8, 3)), first or lif(8), nir.Affine(weights(2, 8), each(2, 0.25)), last or lif(2))


def written(graph: Any, path: Path) -> Path:
    nir.write(path, graph, compression="gzip")
    return path


# Graphs of others, in our neurons


@torch.no_grad()
def trains(controller: Controller, x: torch.Tensor) -> list[np.ndarray]:
    assert isinstance(controller.network, SpikingNetwork)
    return [train.numpy() for train in forward_stepwise(controller.network, x)[1]]


def simulated(graph: Any, x: np.ndarray, steps: int, dt: float = 1e-4) -> list[np.ndarray]:
    """Run a chain by the equations: constant inputs ``x`` [B, N], forward Euler, spikes above the threshold."""
    names = dict(graph.edges)
    train, name, found = np.repeat(x[:, None], steps, 1), names["input"], []
    while name != "output":
        node = graph.nodes[name]
        if hasattr(node, "weight"):
            train = train @ node.weight.T + getattr(node, "bias", 0.0)
        else:
            cuba = hasattr(node, "tau_mem")
            rest = getattr(node, "v_leak", np.zeros(1))
            v, current, out = rest + np.zeros_like(train[:, 0]), np.zeros_like(train[:, 0]), []
            for now in train.transpose(1, 0, 2):
                if cuba:
                    current = current + dt / node.tau_syn * (node.w_in * now - current)
                    now = current
                tau = node.tau_mem if cuba else getattr(node, "tau", None)
                v = v + dt * node.r * now if tau is None else v + dt / tau * (rest - v + node.r * now)
                if hasattr(node, "v_threshold"):
                    out.append(v > node.v_threshold)
                    v = np.where(out[-1], node.v_reset, v)
                else:
                    out.append(v)
            train = np.stack(out, 1).astype(np.float64)
            found.append(train)
        name = names[name]
    return found


GRAPHS: dict[str, Callable[[], Any]] = {
    "lif": usual,
    "lif, r = tau / dt": lambda: usual(lif(8, r=2.0), lif(2, r=2.0)),
    "lif, other r": lambda: usual(lif(8, r=1.5), lif(2, r=0.5)),
    "lif, each its threshold": lambda: usual(lif(8, v_threshold=np.linspace(0.25, 2.0, 8)), lif(2, v_threshold=0.25)),
    "lif, resting elsewhere": lambda: usual(lif(8, v_leak=-0.5, v_reset=-0.5, v_threshold=0.0)),
    "lif, layers of other leaks": lambda: usual(lif(8, tau=4e-4)),
    "cuba": lambda: usual(cuba(8), cuba(2)),
    "cuba, gains": lambda: usual(cuba(8, r=1.0, w_in=each(8, 3.0)), cuba(2, r=np.array([2.0, 8.0]))),
    "if": lambda: usual(
        nir.IF(r=each(8, 1e4), v_threshold=each(8, 0.5)), nir.IF(r=each(2, 5e3), v_threshold=each(2, 0.5))
    ),
    "lif then li": lambda: usual(None, nir.LI(tau=each(2, 2e-4), r=each(2, 1.0), v_leak=each(2, 0.0))),
    "cuba then cubali": lambda: usual(
        cuba(8),
        nir.CubaLI(
            tau_syn=each(2, 2e-4), tau_mem=each(2, 4e-4), r=each(2, 4.0), v_leak=each(2, 0.0), w_in=each(2, 2.0)
        ),
    ),
}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", GRAPHS)
def test_chains_of_others_spike_by_the_equations(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    controller = import_nir(written(graph, tmp_path / "a.nir"), Still(), {"steps": 6})
    x = np.random.default_rng(1).integers(-16, 32, (300, 3)) / 16
    got, expected = trains(controller, torch.as_tensor(x, dtype=torch.float32)), simulated(graph, x, 6)
    for ours, theirs in zip(got, expected, strict=True):
        if set(np.unique(theirs)) <= {0.0, 1.0}:
            assert 0.05 < theirs.mean() < 0.97
            assert (ours != theirs).mean() < (0.01 if "gains" in name or "other" in name else 1e-9)
        else:
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.usefixtures("in_process")
def test_readings_say_what_a_graph_does_not(tmp_path: Path) -> None:
    path = written(usual(lif(8, tau=2e-3), lif(2, tau=2e-3)), tmp_path / "a.nir")
    reading = {"steps": 3, "dt": 1e-3, "squash": "none", "gain": 2.0}
    spec = import_nir(path, Still(), reading).spec
    assert (spec.network.steps, spec.network.neuron.tau, spec.squash) == (3, pytest.approx(2.0), "none")
    assert (spec.network.readout.gain, spec.normalise, spec.low) == (2.0, False, (-2.0, -2.0))
    exact = import_nir(path, Still(), {"decay": "exponential", "dt": 1e-3}).spec.network.neuron
    assert 1 - 1 / exact.tau == pytest.approx(np.exp(-0.5))
    rates = chain(nir.Linear(weights(2, 6)), lif(2))
    network = import_nir(written(rates, tmp_path / "b.nir"), Still(), {"encoder": "bernoulli"}).spec.network
    assert (network.encoder.kind, network.encoder.signed, network.hidden) == ("bernoulli", True, ())
    unit = usual(lif(8, r=7.0), lif(2, r=9.0))
    controller = import_nir(written(unit, tmp_path / "c.nir"), Still(), {"flavour": "norse"})
    assert isinstance(controller.network, SpikingNetwork)
    assert np.array_equal(controller.network.layers[0].weight.numpy(), unit.nodes["linear"].weight)


CHOICES = gym.spaces.Discrete(2)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("graph", "reading", "told"),
    [
        (lambda: chain(nir.Conv1d(3, np.ones((1, 1, 1)), 1, 0, 1, 1, np.zeros(1))), {},
         "node 'conv1d' is of type Conv1d, which is not read; expected Input, Output, Affine"),
        (lambda: chain(nir.Linear(weights(2, 3)), nir.Threshold(each(2, 1.0))), {}, "comes Threshold; expected one"),
        (lambda: chain(lif(3), nir.Linear(weights(2, 3))), {}, "'lif' is a LIF; expected a Linear or Affine"),
        (lambda: chain(nir.Linear(weights(8, 3)), lif(8), nir.Linear(weights(2, 8))), {}, "comes the Output"),
        (lambda: chain(nir.Linear(weights(8, 3)), lif(8), nir.Linear(weights(2, 8)), cuba(2)), {}, "of one kind"),
        (lambda: usual(cuba(8), cuba(2, tau_mem=8e-4)), {}, "one set of time constants in all layers"),
        (lambda: usual(lif(8, tau=np.linspace(2e-4, 4e-4, 8))), {}, "membrane: expected one for the whole layer"),
        (lambda: usual(lif(8, v_reset=0.1)), {}, "expected a reset to the leak potential"),
        (lambda: usual(lif(8, v_threshold=-1.0)), {}, "a threshold above it"),
        (lambda: usual(lif(8, tau=-1e-4)), {}, "expected time constants above 0, got -0.0001"),
        (usual, {"dt": 1e-3}, "is shorter than the step of 0.001 s"),
        (usual, {"dt": -1.0}, "expected seconds above 0"),
        (usual, {"step": 3}, "did you mean 'steps'"),
        (usual, {"encoder": "poisson"}, "encoder"),
        (usual, {"steps": 0}, "spike steps: expected 1 to 1024"),
        (lambda: chain(nir.Linear(weights(8, 4)), lif(8), nir.Linear(weights(2, 8)), lif(2)), {}, "has 4 inputs"),
        (lambda: chain(nir.Linear(weights(8, 3)), lif(8), nir.Linear(weights(5, 8)), lif(5)), {}, "has 5 outputs"),
        (lambda: chain(nir.Linear(weights(8, 3)), lif(8), nir.Linear(weights(2, 7))), {}, "type mismatch|7 inputs"),
    ],
)  # fmt: skip
def test_graphs_that_are_no_policy_are_refused(
    graph: Callable[[], Any], reading: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, ValueError), match=told):
        import_nir(written(graph(), tmp_path / "a.nir"), Still(), reading)


@pytest.mark.usefixtures("in_process")
def test_branches_and_loops_are_refused(tmp_path: Path) -> None:
    graph = usual()
    for edge in (("lif", "affine"), ("lif_1", "linear"), ("input", "affine")):
        more = nir.NIRGraph(graph.nodes, [*graph.edges, edge], type_check=False)
        with pytest.raises(UsageError, match=r"feeds two nodes|branches or loops|is there twice"):
            import_nir(written(more, tmp_path / "a.nir"), Still())
    alone = nir.NIRGraph({**graph.nodes, "other": lif(3)}, graph.edges, type_check=False)
    with pytest.raises(UsageError, match="branches or loops"):
        import_nir(written(alone, tmp_path / "a.nir"), Still())


@pytest.mark.usefixtures("in_process")
def test_environments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = written(usual(), tmp_path / "a.nir")
    env = Still()
    env.action_space = gym.spaces.MultiBinary(2)  # type: ignore[assignment]
    with pytest.raises(UsageError, match="a Discrete or a bounded Box to act in"):
        import_nir(path, env)
    env.action_space = CHOICES  # type: ignore[assignment]
    assert import_nir(path, env).spec.discrete


# Files


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files without a process of their own, which takes half a second."""
    monkeypatch.setattr(hdf5, "_read_apart", lambda blob, path: hdf5_walk.answer(blob))


def sound(path: Path) -> Path:
    network = NetworkSpec(inputs=3, outputs=2, hidden=(6,))
    controller = Controller(ControllerSpec(network=network, low=(-2.0,) * 2, high=(2.0,) * 2)).eval()
    path.write_bytes(export_nir(controller.requires_grad_(False), *resolve_dialect("standard")).blob)
    return path


def edited(change: Callable[[Any], None], tmp_path: Path) -> Path:
    path = sound(tmp_path / "policy.nir")
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def again(file: Any, name: str, **how: Any) -> Any:
    """Put other data in the place of ``name``."""
    del file[name]
    return file.create_dataset(name, **how)


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(6, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(6, 3))
    del file["node/nodes/affine_0/weight"]
    file.create_virtual_dataset("node/nodes/affine_0/weight", layout)


def _deep(file: Any) -> None:
    group = file["node/nodes"]
    for k in range(20):
        group = group.create_group(f"g{k}")


def _many(file: Any) -> None:
    for k in range(10_050):
        file["node/nodes"].create_group(f"g{k}")


def _replace_link(kind: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file["node/nodes/affine_0/weight"]
        file["node/nodes/affine_0/weight"] = kind

    return change


W = "node/nodes/affine_0/weight"
ATTACKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "external link": (_replace_link(h5py.ExternalLink("/etc/hostname", "/x")), "weight is a link to somewhere else"),
    "soft link": (_replace_link(h5py.SoftLink("/version")), "affine_0/weight is a link to somewhere else"),
    "virtual": (_virtual, "affine_0/weight has its data in other files"),
    "external data": (
        lambda f: again(f, W, shape=(6, 3), dtype="f4", external=[("/etc/hostname", 0, 72)]),
        "has its data in other files",
    ),
    "loop": (lambda f: f["node/nodes"].__setitem__("again", f["node"]), "/again is there twice, under another name"),
    "two names": (lambda f: f["node/nodes"].__setitem__("again", f[W]), "is there twice, under another name"),
    "bomb": (lambda f: again(f, W, shape=(1 << 20, 1 << 14), dtype="f4", chunks=(64, 64), compression="gzip"),
             "brings the data to more than the"),
    "huge axes": (lambda f: again(f, W, shape=(1,) * 9, dtype="f4"), "no shape of at most 4 axes"),
    "nan": (lambda f: f[W].__setitem__((0, 0), np.nan), "affine_0/weight holds NaN or infinity"),
    "references": (lambda f: again(f, W, data=f["node"].ref, dtype=h5py.ref_dtype), "holds neither numbers nor texts"),
    "compound": (lambda f: again(f, W, shape=(2,), dtype=[("a", "f4")]), "holds neither numbers nor texts"),
    "long double": (lambda f: again(f, W, shape=(2,), dtype=np.longdouble), "holds neither numbers nor texts"),
    "lists of numbers": (lambda f: again(f, W, shape=(2,), dtype=h5py.vlen_dtype("f4")), "neither numbers nor texts"),
    "empty": (lambda f: again(f, W, dtype="f4"), "has no shape"),
    "type": (lambda f: f.__setitem__("node/nodes/t", np.dtype("f4")), "is neither a group nor data"),
    "deep": (_deep, "groups deep"),
    "many": (_many, "objects that are accepted"),
    "long name": (lambda f: f["node/nodes"].create_group("a" * 300), "letters"),
    "not text": (lambda f: again(f, "node/type", data=np.bytes_(b"\xff\xfe")), "not UTF-8"),
    "many texts": (
        lambda f: again(f, "node/edges", data=np.full((25_000, 2), b"a" * 10), dtype=h5py.string_dtype()),
        "texts to more than the 40000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_are_refused(name: str, tmp_path: Path) -> None:
    change, told = ATTACKS[name]
    path = edited(change, tmp_path)
    assert path.stat().st_size < 16 << 20
    with pytest.raises(StorageFault, match=told) as refused:
        read_graph(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_filters_that_may_be_libraries_are_refused(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((6, 3))
        plan.set_filter(300, h5py.h5z.FLAG_OPTIONAL, (1,))
        del file[W]
        space = h5py.h5s.create_simple((6, 3))
        h5py.h5d.create(file["node/nodes/affine_0"].id, b"weight", h5py.h5t.NATIVE_FLOAT, space, plan)

    with pytest.raises(StorageFault, match="packed by a filter other than gzip, shuffle"):
        read_graph(edited(change, tmp_path))


def test_texts_that_share_their_bytes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of a megabyte under twenty addresses: twenty megabytes in memory, of a file of one."""
    texts = np.array([["x" * (1 << 20), "y"]] + [["y", "y"]] * 9, dtype=object)
    path = edited(lambda f: again(f, "node/edges", data=texts, dtype=h5py.string_dtype()), tmp_path)
    with h5py.File(path) as file:
        at = file["node/edges"].id.get_offset()
    blob = bytearray(path.read_bytes())
    blob[at : at + 16 * 20] = blob[at : at + 16] * 20
    monkeypatch.setattr(hdf5_walk, "MODEST", 4 << 20)
    monkeypatch.setattr(hdf5_walk, "MAX_RATIO", 2)
    assert hdf5_walk.walk(path.read_bytes())[0].keys() == {"tree"}
    assert "node/edges brings the data to more than the 4,194,304 bytes" in hdf5_walk.walk(bytes(blob))[0]["fault"]


@pytest.mark.parametrize(
    ("blob", "told"),
    [
        (b"", "cannot be read as HDF5"),
        (b"PK\x03\x04 a zip", "cannot be read as HDF5"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "cannot be read as HDF5"),
    ],
)
def test_files_that_are_no_hdf5_are_refused(blob: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_bytes(blob)
    with pytest.raises(StorageFault, match=told):
        read_graph(tmp_path / "a.nir")


def test_what_is_no_regular_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFault, match="No such file"):
        read_graph(tmp_path / "a.nir")
    (tmp_path / "b.nir").symlink_to(sound(tmp_path / "policy.nir"))
    with pytest.raises(StorageFault, match="found a link"):
        read_graph(tmp_path / "b.nir")
    monkeypatch.setattr(hdf5, "MAX_FILE", 1000)
    with pytest.raises(StorageFault, match="more than the 1000 that are accepted"):
        read_graph(tmp_path / "policy.nir")


def test_nothing_of_the_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("h5py", "json", "numpy", "resource", "safetensors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert "neuron_0" in read_graph(sound(tmp_path / "policy.nir"))["nodes"]


def test_a_file_that_hangs_the_library_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong size of the heap of texts keeps the HDF5 library busy for ever."""
    monkeypatch.setattr(hdf5, "CPU_SECONDS", 2)
    blob = bytearray(sound(tmp_path / "policy.nir").read_bytes())
    blob[blob.index(b"GCOL") + 8] = 0xFF
    (tmp_path / "hangs.nir").write_bytes(blob)
    with pytest.raises(StorageFault, match="crashed, or took more than 2 s"):
        read_graph(tmp_path / "hangs.nir")


def test_damage_anywhere_is_refused_or_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "CPU_SECONDS", 3)
    blob, rng = sound(tmp_path / "policy.nir").read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(12):
        changed = bytearray(blob)
        for place in rng.integers(0, len(blob), 6):
            changed[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.nir").write_bytes(changed)
        try:
            import_nir(tmp_path / "b.nir", Still())
            outcomes.add("read")
        except HomeoError as error:
            outcomes.add(type(error).__name__)
    assert outcomes <= {"read", "StorageFault", "UsageError"}
    assert len(outcomes) > 1


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.__delitem__("node"), "found an HDF5 file without one"),
        (lambda f: again(f, "node/type", data="Linear"), "found an HDF5 file without one"),
        (lambda f: again(f, "node/nodes/neuron_0/type", data="Evil\x1b[2J"), r"of type Evil\\x1b\[2J, which is not"),
        (lambda f: f.__delitem__("node/nodes/neuron_0/type"), "'neuron_0' is of type None"),
        (lambda f: again(f, "node/nodes/neuron_0", data=3.0), "'neuron_0' is of type None"),
        (lambda f: again(f, "node/nodes", data=3.0), "expected 2 to 2000 nodes"),
        (lambda f: again(f, "node/edges", data=np.zeros((2, 2))), "expected edges as pairs of names"),
        (lambda f: again(f, "node/edges", data=[["input", "nobody"]]), "an edge names 'nobody', which is no node"),
        (lambda f: again(f, "node/edges", data=[["input", "affine_0"]] * 2), "an edge is there twice"),
        (lambda f: again(f, f"node/metadata/{KEY}", data=3.0), "expected a JSON text"),
        (lambda f: again(f, "node/metadata/tensors", data=3.0), "expected a JSON text and tensors"),
        (lambda f: again(f, W, data=np.zeros((7, 3), np.float32)), r"expected floats \(6, 30\), found"),
        (lambda f: again(f, W, data="text"), "expected a node affine_0 with a weight"),
    ],
)  # fmt: skip
def test_graphs_of_other_shapes_are_refused(change: Callable[[Any], None], told: str, tmp_path: Path) -> None:
    with pytest.raises(HomeoError, match=told) as refused:
        import_nir(edited(change, tmp_path), Still())
    assert str(refused.value).isprintable()


def _document(file: Any, **changes: Any) -> None:
    text = json.loads(file[f"node/metadata/{KEY}"][()])
    for key, value in changes.items():
        inner = text
        *path, last = key.split("__")
        for part in path:
            inner = inner[part]
        inner[last] = value
    again(file, f"node/metadata/{KEY}", data=json.dumps(text))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"controller__network__hidden": [65536], "controller__network__readout__size": 1000},
         "expected tensors of .* weights or more"),
        ({"controller__network__steps": -1}, "spike steps"),
        ({"controller__network__body": "mlp"}, "expected a spiking policy"),
        ({"controller__evil": 1}, "evil"),
        ({"flavour": "alien"}, "unknown --dialect 'alien'"),
        ({"flavour": 3}, "expected flavour, dt and decay"),
        ({"dt": 1e-5}, "node 'neuron_0': tau_syn is not what its metadata asks for"),
        ({"kind": "compiled"}, "found a compiled network"),
    ],
)  # fmt: skip
def test_metadata_of_strangers_is_checked(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(HomeoError, match=told):
        import_nir(edited(lambda f: _document(f, **changes), tmp_path), Still())
    assert time.monotonic() - begun < 60


def test_the_walk_reads_what_nir_reads(tmp_path: Path) -> None:
    path = sound(tmp_path / "policy.nir")
    graph, theirs = read_graph(path), nir.read(path)
    assert list(itertools.chain(graph["nodes"])) == list(theirs.nodes)
    assert sorted(graph["edges"]) == sorted(theirs.edges)
    for name, node in theirs.nodes.items():
        for key, value in node.to_dict().items():
            if key != "metadata":
                np.testing.assert_array_equal(np.asarray(graph["nodes"][name][key]), np.asarray(value))
    plain = io.BytesIO()
    nir.write(plain, theirs, compression=None)
    assert hdf5_walk.walk(plain.getvalue())[0] == hdf5_walk.walk(path.read_bytes())[0]
