"""The plan of generated code: what it imports, what it says, and that it is the same run after run."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinynet_kernels.cpu.generated import programs
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.cpu.generated.task import Data, Task
from tinynet_kernels.network import Layer

import tinynet as tn
from tinynet.backends.numba import generated
from tinynet.backends.numba.generated import GeneratedPlan

ROOT = Path(__file__).resolve().parent.parent

FIT = """
import sys
import numpy as np
import tinynet as tn
x, y, labels = np.zeros((40, 3)), np.zeros((40, 2)), np.arange(40) % 2
net = tn.Sequential(tn.Normalize(3).adapt(np.eye(3)), tn.Linear(3, 20), tn.GELU(), tn.Dropout(0.1), tn.Linear(20, 2))
net.fit(x, y, epochs=2, optimizer=tn.Adam(clip_norm=1.0), validation_data=(x, y), threads=2)
net.predict(x), net.predict(x[:1]), net.evaluate(x, y)
other = tn.Sequential(tn.Linear(3, 2), tn.Softmax())
other.fit(x, labels, loss=tn.CrossEntropy(from_logits=False), epochs=1)
large = tn.Sequential(tn.Linear(3, 800), tn.Tanh(), tn.Linear(800, 700), tn.Dropout(0.1), tn.Linear(700, 2))
large.fit(x, y, epochs=1, optimizer=tn.Adam(clip_norm=1.0), validation_data=(x, y), threads=2)
large.predict(x), large.predict(x[:1]), large.evaluate(x, y)
for width in (4, 30):
    layers = (tn.Linear(3, width), tn.Tanh(), tn.Dropout(0.1) if width > 4 else tn.Tanh(), tn.Linear(width, 2))
    models = tn.Ensemble(tn.Sequential(*layers), 5)
    models.fit(x, y, epochs=2, optimizer=tn.Adam(clip_norm=1.0), validation_data=(x, y), bootstrap=True, threads=2)
    models.predict(x), models.evaluate(x, y), models[0].predict(x)
print(sorted({"numba", "scipy"} & {name.split(".")[0] for name in sys.modules}))
"""


def test_training_on_built_in_parts_imports_neither_numba_nor_scipy() -> None:
    result = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def model(width: int = 20, dtype: str = "float32", last: tuple[tn.Layer, ...] = ()) -> tn.Sequential:
    layers = (tn.Linear(3, width), tn.SiLU(), tn.Dropout(0.2), tn.Linear(width, 2), *last)
    return tn.Sequential(*layers, dtype=dtype, seed=0, backend="numba")


def data(n: int = 50) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2))


@pytest.mark.parametrize(("batch", "way"), [(1, "tiles"), (10, "tiles"), (300, "tiles")])
def test_the_description_tells_how_it_computes(batch: int, way: str) -> None:
    net = model()
    plan = net.plan(tn.MeanSquaredError(), tn.SGD(), np.zeros((1, 2), "float32"), batch, "epoch")
    assert isinstance(plan, GeneratedPlan)
    assert way in plan.description


def trained(seed: int) -> bytes:
    x, y = data()
    net = model()
    net.fit(x, y, epochs=3, batch_size=7, optimizer=tn.Adam())
    return net.flat_parameters().tobytes() + net.predict(x).tobytes()


def test_runs_in_threads_of_python_are_those_of_one_thread() -> None:
    expected = trained(0)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(trained, range(8))) == {expected}


def test_one_model_predicts_in_many_threads_at_once() -> None:
    net, (x, _) = model(), data(1000)
    parts = [x[i : i + size] for i, size in enumerate((1, 5, 64, 65, 300, 900))]
    alone = [net.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            together = list(pool.map(net.predict, parts))
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_runs_that_make_the_tables_of_their_threads_at_once_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = (Layer("linear", 3, 5), Layer("linear", 5, 2))
    made = programs.prediction(chain, "float32", Sources("<f4"), host(), 96)
    task, words, meeting = Task(made), Table.words, threading.Barrier(2)

    def together(table: Table, addresses: Any, thread: int = 0, *, sharing: int = 1) -> Any:
        meeting.wait(60)
        return words(table, addresses, thread, sharing=sharing)

    x, vectors, order = np.ones((400, 3), "f4"), np.ones(40, "f4"), np.arange(400)
    addresses = {"order": order.ctypes.data, "parameters": vectors.ctypes.data, "buffers": vectors.ctypes.data}
    sizes = {"n_visits": 400, "batch": 400, "ranges": 8}
    monkeypatch.setattr(Table, "words", together)

    def run(_: int) -> bytes:
        out = np.empty((400, 2), "f4")
        given = {**Data.of(x).words("x"), **addresses, **sizes, "out": out.ctypes.data}
        assert task(given, n_threads=4)
        return out.tobytes()

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(run, range(2))) == {np.full((400, 2), 15, "f4").tobytes()}
    for thread in range(4):
        np.testing.assert_array_equal(task._tables[thread, 1], words(made, task._addresses, thread))


@pytest.mark.parametrize("rows", [1, 3, 32, 63, 64, 65, 256, 257, 5000])
def test_predictions_and_evaluations_of_any_size_agree_with_the_loop(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "THREAD_WORK", 1)
    monkeypatch.setattr(generated, "MEETING_WORK", 1)
    x, y = data(rows)
    net = model(dtype="float64")
    other = net.clone().to("numpy")
    for threads in (1, 3):
        with tn.base.config.use_threads(threads):
            np.testing.assert_allclose(net.predict(x), other.predict(x), rtol=1e-11, atol=1e-13)
            assert net.evaluate(x, y, loss="mse") == pytest.approx(other.evaluate(x, y, loss="mse"), rel=1e-12)


def processors() -> dict[str, Target]:
    """Return this processor, and older ones whose code it runs: their tiles are lower."""
    here = host()
    older = {"x86-64-v2": "+sse4.2", "x86-64-v3": "+avx,+avx2,+fma"} if here.triple.startswith("x86_64") else {}
    runs = {
        name: features for name, features in older.items() if set(features.split(",")) <= set(here.features.split(","))
    }
    return {"host": here, **{name: Target.of(here.triple, name, features) for name, features in runs.items()}}


@pytest.mark.parametrize("processor", processors())
@pytest.mark.parametrize("rows", [1, 10, 300, 1001])
def test_gradients_of_any_number_of_rows_agree_with_the_loop(
    rows: int, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "host", lambda: processors()[processor])
    x, y = data(rows)
    found = []
    for backend in ("numba", "numpy"):
        net = model(dtype="float64").to(backend)
        plan = net.plan(tn.Huber(), tn.SGD(), y, None, "epoch")
        value = plan.gradient(net.state, x, y)
        found.append(np.append(net.state.gradients, value))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("code", [">f8", "<f2", "<i4", "|u1", "<f8"])
def test_data_of_any_dtype_are_read_as_they_lie(code: str) -> None:
    x, y = data()
    if code[1] == "u":
        x = np.abs(x)
    given = (10 * x).astype(code)
    losses = []
    for array in (given, given.astype("float32"), np.asfortranarray(given)):
        net = model()
        losses.append(net.fit(array, y, epochs=2, batch_size=8).history["loss"])
    assert losses[0] == losses[1] == losses[2]


def test_what_is_not_finite_is_refused_in_predictions() -> None:
    net, (x, _) = model(), data(400)
    for rows in (1, 400):
        bad = x[:rows].copy()
        bad[-1, -1] = np.nan
        with pytest.raises(ValueError, match="finite"):
            net.predict(bad)


@pytest.mark.parametrize("way", ["mse", "softmax", "cross-entropy"])
def test_what_diverged_leaves_nothing_behind(way: str) -> None:
    """The memory of a plan is used again: nothing of what was not finite may be left in it."""
    x, y = data()
    loss: tn.Loss = tn.MeanSquaredError()
    if way == "cross-entropy":
        y, loss = y.argmax(1), tn.CrossEntropy()
    net = model(last=(tn.Softmax(),) if way == "softmax" else ())
    net.prepare_optimizer(tn.Adam())
    plan = net.plan(loss, tn.Adam(), y, 8, "epoch")
    first, rates = net.flat_parameters(), np.full((2, 1), 0.01)
    ends = []
    for spoiled in (False, True, False):
        net.set_flat_parameters(np.full_like(first, np.nan) if spoiled else first)
        net.prepare_optimizer(tn.Adam())
        net.state.draws = 0
        plan.run(net.state, x, y, None, rates)
        ends.append(net.flat_parameters())
    assert not np.isfinite(ends[1]).any()
    np.testing.assert_array_equal(ends[0], ends[2])


layers = st.builds(
    Layer,
    kind=st.sampled_from(["linear", "activation", "dropout", "normalize", "convolution"]),
    n_in=st.integers(-1, 4),
    n_out=st.integers(-1, 4),
    bias=st.booleans(),
    activation=st.sampled_from(["identity", "relu", "softmax", "none of these"]),
    alpha=st.just(0.25),
)


@settings(max_examples=60)
@given(
    chain=st.lists(layers, max_size=3),
    rows=st.integers(0, 9),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
    few=st.booleans(),
)
def test_a_table_that_cannot_be_is_refused_and_any_other_runs(
    chain: list[Layer], rows: int, dtype: str, few: bool
) -> None:
    chain = [layer for layer in chain if layer.kind != "dropout"]
    widths = [(chain[0].n_in if chain else 0), *(layer.n_out for layer in chain)]
    follows = all(layer.n_in == n and layer.n_out > 0 for layer, n in zip(chain, widths, strict=False))
    known = all(layer.kind != "convolution" and layer.activation != "none of these" for layer in chain)
    steady = all(layer.kind == "linear" or layer.n_in == layer.n_out for layer in chain)
    possible = bool(chain) and widths[0] > 0 and follows and known and steady and rows > 0 and dtype != "float16"
    try:
        made = programs.prediction(tuple(chain), dtype, Sources("<f8"), host(), rows, few=few)
    except ValueError:
        assert not possible
        return
    assert possible
    x, out = np.zeros((rows, widths[0])), np.zeros((rows, widths[-1]), dtype)
    vectors, order = np.ones(200, dtype), np.arange(rows)
    words = {"order": order.ctypes.data, "out": out.ctypes.data, "n_visits": rows, "batch": rows}
    words |= {"parameters": vectors.ctypes.data, "buffers": vectors.ctypes.data}
    assert Task(made)({**Data.of(x).words("x"), **words})
    assert np.isfinite(out).all()


def test_few_rows_after_many_are_read_from_where_they_lie() -> None:
    """Predictions of few rows go by addresses that are put down once, those of many by addresses of their own."""
    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), seed=0, backend="numba")
    most = np.random.default_rng(0).normal(size=(generated.SHORT_WAY + 1, 3)).astype("f4")
    whole = net.predict(most)
    for rows, few in ((generated.SHORT_WAY, 2), (300, 3), (33, 32), (34, 17), (65, 1)):
        assert net.predict(most[:rows].copy()).tobytes() == whole[:rows].tobytes()  # Its memory is given back at once.
        assert net.predict(most[10 : 10 + few].copy()).tobytes() == whole[10 : 10 + few].tobytes()


def test_a_call_that_is_kept_sees_whatever_has_changed_since() -> None:
    """Plans keep calls with addresses and strides in them; here each next one gets something else of the same shape."""
    x, y = data()
    weight = np.random.default_rng(1).uniform(1, 2, len(x))
    order = np.random.default_rng(2).permutation(len(x))[None]
    fortran, read_only = np.asfortranarray(x), x.astype("f4")
    read_only.flags.writeable = False
    others = [(x, y), (x.copy(), y.copy()), (fortran, y), (x[:, ::-1], y), (x.astype("f4"), y), (read_only, y)]
    others += [(x.astype(">f8"), y), (np.repeat(x, 2, 0)[::2], y)]
    net = model(6)
    plan = net.plan(tn.MeanSquaredError(), tn.Adam(), y, 8, "epoch")

    def outcome(plan: Any, data: tuple[Any, ...], weight: Any, order: Any, n_epochs: int) -> bytes:
        net.set_flat_parameters(np.linspace(-1, 1, net.program.n_parameters))
        net.prepare_optimizer(tn.Adam())
        net.state.draws, rates = 5, np.linspace(0.01, 0.02, 7 * n_epochs).reshape(n_epochs, 7)
        losses = plan.run(net.state, *data, order, rates, weight)
        found = [plan.evaluate(net.state, *data, weight), plan.gradient(net.state, *data, weight)]
        return (
            losses.tobytes()
            + net.flat_parameters().tobytes()
            + net.state.gradients.tobytes()
            + bytes(str(found), "ascii")
        )

    for pair in [*others, *others[::-1]]:
        for arguments in ((None, None, 1), (weight, order, 1), (None, order.repeat(3, 0), 3)):
            fresh = GeneratedPlan(plan.program, plan.backend)
            assert outcome(plan, pair, *arguments) == outcome(fresh, pair, *arguments)


def test_a_kept_call_keeps_no_data_alive() -> None:
    net, (x, y) = model(6), data()
    x, y = x.astype("f4"), y.astype("f4")
    seen = weakref.ref(x)
    net.fit(x, y, epochs=1, validation_data=(x, y))
    net.predict(x)
    del x
    gc.collect()
    assert seen() is None
