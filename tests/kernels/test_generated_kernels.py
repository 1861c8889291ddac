"""The kernels of the generated code, each by itself, against formulas in float64; what lies around an array stays."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest
from tinynet_kernels import formulas, reference
from tinynet_kernels.cpu.generated import compiler, elementary, large, layout
from tinynet_kernels.cpu.generated.cross_entropy import TURNED
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.ir import Code, Module, Value
from tinynet_kernels.cpu.generated.ir_types import I64, POINTER
from tinynet_kernels.cpu.generated.layout import Own, Panels
from tinynet_kernels.cpu.generated.table import Table
from tinynet_kernels.cpu.generated.task import Data, Space, Task
from tinynet_kernels.expressions import Expression, symbol
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Layer

SIZES = (1, 2, 7, 9, 17, 65)
GUARD = 192
PATTERN = 0xA5
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
Array = Any


class Bench:
    """A table of the steps under test, and arrays in panels, with guards between them."""

    def __init__(self, dtype: str, rows: int) -> None:
        self.dtype, self.rows = dtype, rows
        self.table = Table(dtype, compiler.host(), rows)
        self.arena, self.guards = self.table.arena, []
        self.contents: list[tuple[Own, Array]] = []

    def guard(self) -> None:
        self.guards.append(self.arena.take_own(GUARD))

    def activation(self, values: Array) -> Panels:
        """Place (rows, n) numbers."""
        self.guard()
        rows, n = values.shape
        found = self.arena.activation(n)
        width = self.arena.width
        panels = np.zeros((self.arena.panels(n), found.step // self.arena.row_bytes, width), self.dtype)
        for p in range(len(panels)):
            part = values[:, p * width : (p + 1) * width]
            panels[p, :rows, : part.shape[1]] = part
        self.contents.append((Own(found.place), panels))
        self.guard()
        return found

    def weights(self, w: Array, b: Array) -> Panels:
        """Place the weight and the bias of a layer."""
        self.guard()
        (n_in, n_out), width, rows = w.shape, self.arena.width, self.arena.weight_rows(w.shape[0])
        panels = np.zeros((self.arena.panels(n_out), rows, width), self.dtype)
        for p in range(len(panels)):
            part = slice(p * width, (p + 1) * width)
            used = w[:, part].shape[1]
            panels[p, 0, :used], panels[p, 1 : n_in + 1, :used] = b[part], w[:, part]
        place = self.arena.take_own(panels.nbytes)
        self.contents.append((place, panels))
        self.guard()
        return Panels(place, rows * self.arena.row_bytes)

    def run(self, **context: Any) -> None:
        """Run the steps once, and hold the guards against what they were."""
        task = Task(self.table)
        space = task.ready({})
        for place in self.guards:
            self._bytes(space, place, GUARD)[:] = PATTERN
        for place, panels in self.contents:
            self._bytes(space, place, panels.nbytes)[:] = panels.view(np.uint8).ravel()
        order = np.arange(self.rows)
        space.put({"n_visits": self.rows, "batch": self.rows, "block": self.rows, "order": order.ctypes.data})
        space.put({name: value for name, value in context.items() if name != "rate"})
        rates = np.array([context.get("rate", 0.0)])
        space.put({"rates": rates.ctypes.data})
        losses = np.zeros(1)
        space.put({"losses": losses.ctypes.data})
        task.run(space)
        self.loss, self.space = losses[0], space
        for place in self.guards:
            assert (self._bytes(space, place, GUARD) == PATTERN).all()

    def _bytes(self, space: Space, place: int, size: int) -> Array:
        start = self.arena.size + place
        return space.arena[start : start + size]

    def read(self, panels: Panels, n: int) -> Array:
        """Return (rows, n) numbers, and see that the padding is zeros."""
        count = self.arena.panels(n)
        found = self._bytes(self.space, panels.place, count * panels.step).view(self.dtype)
        found = found.reshape(count, -1, self.arena.width)[:, : self.rows]
        flat = found.swapaxes(0, 1).reshape(self.rows, -1)
        assert not flat[:, n:].any()
        return flat[:, :n].astype(np.float64)

    def read_weights(self, panels: Panels, n_in: int, n_out: int) -> tuple[Array, Array]:
        count = self.arena.panels(n_out)
        found = self._bytes(self.space, panels.place, count * panels.step).view(self.dtype)
        flat = found.reshape(count, -1, self.arena.width).swapaxes(0, 1)
        flat = flat.reshape(len(flat), -1).astype(np.float64)
        assert not flat[:, n_out:].any()
        assert not flat[n_in + 1 :].any()
        return flat[1 : n_in + 1, :n_out], flat[0, :n_out]


def close(found: Array, expected: Array, dtype: str, scale: float = 1.0) -> None:
    tolerance = TOLERANCE[dtype] * scale
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def normal(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products_of_any_size(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for rows, n_in, n_out in [(r, k, SIZES[(i + j) % 6]) for i, r in enumerate(SIZES) for j, k in enumerate(SIZES)]:
        bench, own = Bench(dtype, rows), {}
        x, w, b = normal(rng, dtype, rows, n_in), normal(rng, dtype, n_in, n_out), normal(rng, dtype, n_out)
        d, dw = normal(rng, dtype, rows, n_out), np.zeros((n_in, n_out), dtype)
        for name, values in (("x", x), ("d", d), ("y", np.zeros_like(d)), ("dx", np.zeros_like(x))):
            own[name] = bench.activation(values)
        own["w"], own["dw"], own["new"] = bench.weights(w, b), bench.weights(dw, 0 * b), bench.weights(w, b)
        arena, row = bench.arena, bench.arena.row_bytes
        zeros, transposed = arena.take_own(8 * row), arena.take_own(arena.panels(n_in) * arena.panels(n_out) * row * 64)
        bench.guard()
        panels_in, panels_out = arena.panels(n_in), arena.panels(n_out)

        def place(name: str, offset: int = 0, own: Any = own) -> Own:
            return Own(own[name].place + offset)

        add = bench.table.add
        steps = (own["x"].step, own["w"].step, own["w"].step, own["y"].step)
        places = (place("x"), place("w", row), place("w"), place("y"))
        add("rows", "products", "product_rows", *places, *steps, n_in, n_out)
        step = panels_out * arena.width * row
        add(
            "rows", "products", "transposition", place("w", row), transposed, own["w"].step, step, panels_in, panels_out
        )
        factors = (place("d"), transposed, zeros, place("dx"), own["d"].step, step, 0, own["dx"].step)
        add("rows", "products", "product_rows", *factors, n_out, n_in)
        for name, fold in (("dw", 0), ("new", 1)):
            places = (place("x"), place("d"), place(name), zeros)
            steps = (own["x"].step, own["d"].step, own[name].step)
            add("rows", "products", "gradient", *places, *steps, n_in, n_out, 1, fold)
        bench.run(rate=0.25)
        x, w, b, d = (array.astype(np.float64) for array in (x, w, b, d))
        scale = max(n_in, n_out, rows)
        close(bench.read(own["y"], n_out), x @ w + b, dtype, scale)
        close(bench.read(own["dx"], n_in), d @ w.T, dtype, scale)
        found, bias = bench.read_weights(own["dw"], n_in, n_out)
        close(found, x.T @ d, dtype, scale)
        close(bias, d.sum(axis=0), dtype, scale)
        found, bias = bench.read_weights(own["new"], n_in, n_out)
        close(found, w - 0.25 * x.T @ d, dtype, scale)
        close(bias, b - 0.25 * d.sum(axis=0), dtype, scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products_in_blocks_and_pieces_of_one_panel(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many blocks as there can be, which take no other numbers than those of the matrices."""
    for name in ("DEEPEST", "SHALLOWEST", "WIDEST"):
        monkeypatch.setattr(layout, name, 1)
    rng = np.random.default_rng(7)
    for rows, n_in, n_out in ((1, 65, 70), (9, 100, 33), (17, 64, 65)):
        bench, own = Bench(dtype, rows), {}
        x, w, b = normal(rng, dtype, rows, n_in), normal(rng, dtype, n_in, n_out), normal(rng, dtype, n_out)
        d = normal(rng, dtype, rows, n_out)
        for name, values in (("x", x), ("d", d), ("y", 0 * d), ("flat", 0 * d), ("dx", 0 * x)):
            own[name] = bench.activation(values)
        for name, values in (("w", w), ("dw", 0 * w)):
            own[name] = bench.weights(values, b * (name == "w"))
        bench.guard()
        scratch = bench.arena.take_scratch(large.scratch_bytes(bench.arena))
        bench.guard()
        table, first = bench.table, Panels(own["w"].place + bench.arena.row_bytes, own["w"].step)
        large.product(table, own["x"], n_in, first, own["w"], own["y"], n_out)
        flat = layout.Weights(0, 0, 0, w.nbytes, 0)
        large.product_flat(table, own["x"], Layer("linear", n_in, n_out, True), flat, own["flat"], scratch)
        large.product_transposed(table, own["d"], n_out, first, own["dx"], n_in, scratch)
        large.gradient(table, own["x"], n_in, own["d"], n_out, own["dw"], bias=True, fold=False)
        parameters = np.concatenate([w.ravel(), b])
        bench.run(parameters=parameters.ctypes.data)
        x, w, b, d = (array.astype(np.float64) for array in (x, w, b, d))
        for name in ("y", "flat"):
            close(bench.read(own[name], n_out), x @ w + b, dtype, n_in)
        close(bench.read(own["dx"], n_in), d @ w.T, dtype, n_out)
        found, bias = bench.read_weights(own["dw"], n_in, n_out)
        close(found, x.T @ d, dtype, rows)
        close(bias, d.sum(axis=0), dtype, rows)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", [*formulas.ACTIVATIONS, "softmax"])
def test_activations_and_their_derivatives(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for rows, n in zip(SIZES, reversed(SIZES), strict=True):
        bench, z, dy = Bench(dtype, rows), 3 * normal(rng, dtype, rows, n), normal(rng, dtype, rows, n)
        places = [bench.activation(values) for values in (z, 0 * z, dy, 0 * z)]
        own = [Own(panels.place) for panels in places]
        unit, step, alpha = f"activation:{kind}", places[0].step, 0.5
        bench.table.add("rows", unit, f"{kind}_forward", own[0], own[1], step, n, alpha)
        bench.table.add("rows", unit, f"{kind}_backward", *own, step, n, alpha)
        bench.run()
        z, dy = z.astype(np.float64), dy.astype(np.float64)
        y, dz = np.empty_like(z), np.empty_like(z)
        reference.activation_forward(kind, z, y, alpha)
        reference.activation_backward(kind, z, y, dy, dz, alpha)
        close(bench.read(places[1], n), y, dtype)
        close(bench.read(places[3], n), dz, dtype, 10)


def targets(kind: str, rng: np.random.Generator, rows: int, n: int) -> tuple[Array, Array]:
    """Return predictions and targets that a loss is meant for."""
    p = rng.normal(size=(rows, n)) * 2
    if "probabilities" in kind or kind == "bce":
        p = rng.uniform(0.01, 0.99, (rows, n))
    if LOSSES[kind].index_target:
        return p, rng.integers(0, n, rows)
    if kind == "poisson_log":
        return p, rng.poisson(2.0, (rows, n)).astype(float)
    return p, rng.uniform(0, 1, (rows, n))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_and_their_gradients(kind: str, dtype: str, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    # What turns as many rows as a register has lanes does so for more classes than that, too.
    for rows, n in [*zip(SIZES, reversed(SIZES), strict=True), *[(17, 65), (20, 17)][: 2 * (kind in TURNED)]]:
        bench = Bench(dtype, rows)
        p, t = targets(kind, rng, rows, n)
        p, t = p.astype(dtype), t if t.ndim == 1 else t.astype(dtype)
        weight = rng.uniform(0.5, 2.0, rows).astype(dtype) if weighted else np.ones(rows, dtype)
        prediction, d = bench.activation(p), bench.activation(0 * p)
        target = bench.activation(t) if t.ndim == 2 else Panels(bench.arena.take_own(8 * bench.arena.rows), 0)
        if t.ndim == 1:
            bench.contents.append((Own(target.place), t))
        weights = bench.arena.take_own(bench.arena.rows * 8)
        bench.contents.append((weights, weight))
        bench.guard()
        places = (Own(prediction.place), Own(target.place), Own(d.place), weights)
        numbers = [prediction.step, target.step, n, 0.75, 0.5, 1, 0.3]
        for _ in range(TURNED.get(kind, 0)):
            numbers.append(bench.arena.columns(n))
            bench.guard()
        bench.table.add("rows", f"loss:{kind}", f"loss_{kind}", *places, *numbers)
        bench.run()
        p, t, weight = p.astype(np.float64), t if t.ndim == 1 else t.astype(np.float64), weight.astype(np.float64)
        expected = np.empty_like(p)
        value = reference.loss_forward_backward(kind, p, t, weight, expected, 0.75 / rows, 0.3)
        close(bench.loss, 0.5 * value * rows, dtype, 10)
        close(bench.read(d, n), expected, dtype, 10)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_exponential_of_what_is_not_positive_has_the_bits_of_the_exponential(dtype: str) -> None:
    module = Module(compiler.host(), dtype)

    def body(code: Code, x: Value, whole: Value, short: Value, n: Value) -> None:
        def number(i: Value) -> None:
            value = code.load(code.at(x, i, module.real), module.real)
            code.store(elementary.exp(value), code.at(whole, i, module.real))
            code.store(elementary.exp_nonpositive(value), code.at(short, i, module.real))

        code.loop(0, n, 1, number)

    name = f"exponentials_{dtype}"
    module.function(name, [POINTER, POINTER, POINTER, I64], body)
    (address,) = compiler.load([compiler.to_object(module.text(), compiler.host())], [name])
    x = np.append(-np.geomspace(1e-9, 800, 20_011), [0.0, -0.0, -np.inf, np.nan]).astype(dtype)
    whole, short = np.empty_like(x), np.empty_like(x)
    pointers = [array.ctypes.data for array in (x, whole, short)]
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(address)(*pointers, len(x))
    assert whole.tobytes() == short.tobytes()
    assert ((whole > 0) & (whole < np.finfo(dtype).tiny)).any(), "subnormal results are among them"


def evaluate(term: Expression | float, values: dict[str, Array]) -> Array:
    """Compute a formula with NumPy: what the emitters of code are held against is the reference, and this says why."""
    if not isinstance(term, Expression):
        return np.float64(term)
    if term.operation in ("symbol", "number"):
        return values[term.content] if term.operation == "symbol" else np.float64(term.content)
    a = [evaluate(operand, values) for operand in term.operands]
    functions: dict[str, Any] = {
        "expm1_nonpositive": np.expm1,
        "log1p_fraction": np.log1p,
        "erfc": np.vectorize(math.erfc),
    }
    operations: dict[str, Any] = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "negative": np.negative,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        "==": np.equal,
        "select": np.where,
    }
    name = term.operation
    return (operations.get(name) or functions.get(name) or getattr(np, name))(*a)


@pytest.mark.parametrize("kind", formulas.ACTIVATIONS)
def test_formulas_of_activations_are_those_of_the_reference(kind: str) -> None:
    z = np.linspace(-8, 8, 101)[:, None]
    y, slope, alpha = np.empty_like(z), np.empty_like(z), 0.5
    reference.activation_forward(kind, z, y, alpha)
    reference.activation_backward(kind, z, y, np.ones_like(z), slope, alpha)
    formula, values = formulas.ACTIVATIONS[kind], {"z": z, "y": y, "alpha": np.float64(alpha)}
    np.testing.assert_allclose(evaluate(formula.value(symbol("z"), symbol("alpha")), values), y, rtol=1e-13)
    derivative = formula.derivative(symbol("z"), symbol("y"), symbol("alpha"))
    np.testing.assert_allclose(evaluate(derivative, values) * np.ones_like(z), slope, rtol=1e-12, atol=1e-15)


def test_an_expression_can_be_read() -> None:
    z = symbol("z")
    assert repr(formulas.ACTIVATIONS["relu"].value(z, symbol("alpha"))) == "select((z <= 0), 0, z)"


@pytest.mark.parametrize(
    "code", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "|i1", "|u1", "<i2", ">i4", "<i8", "<u4", "|b1"]
)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_dtype_is_gathered_as_numpy_converts_it(code: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for n in SIZES:
        values = rng.integers(0, 2, (2 * n, n)) if code == "|b1" else rng.normal(scale=50, size=(2 * n, n))
        if code[1] == "u":
            values = np.abs(values)
        source = values.astype(code)
        for array in (source, source[::-1, ::-1]):
            bench = Bench(dtype, n)
            into = bench.activation(np.zeros((n, n)))
            data = Data.of(array)
            bench.table.add(
                "rows",
                f"gather:{data.code}",
                "gather",
                Own(into.place),
                bench.arena.row_bytes,
                into.step,
                n,
                PLACES["x"],
            )
            bench.run(**data.words("x"))
            np.testing.assert_array_equal(bench.read(into, n), array[:n].astype(dtype))


def test_what_is_not_finite_is_seen_where_it_is_gathered() -> None:
    for value in (np.nan, np.inf, -np.inf):
        for column in (0, 15, 16, 20):
            x = np.zeros((3, 21), "float32")
            x[1, column] = value
            bench = Bench("float32", 3)
            into = bench.activation(np.zeros_like(x))
            bench.table.add(
                "rows", "gather:<f4", "gather", Own(into.place), bench.arena.row_bytes, into.step, 21, PLACES["x"]
            )
            bench.run(**Data.of(x).words("x"))
            assert bench.space.words[PLACES["finite"]] == 0


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_masks_are_the_bits_of_the_reference(dtype: str) -> None:
    for rows, n in zip(SIZES, reversed(SIZES), strict=True):
        x = np.arange(1.0, rows * n + 1).reshape(rows, n)
        bench = Bench(dtype, rows)
        into, out = bench.activation(x), bench.activation(0 * x)
        mask = bench.arena.take_own((rows * n + 64) * 8)
        seed, draws, layer, rate = 0xFEDCBA9876543210, (1 << 40) + 7, 3, 0.3
        bench.table.add("rows", "dropout", "draw_mask", mask, n, layer, int(rate * 2**32), 1 / (1 - rate))
        bench.table.add("rows", "dropout", "multiply", Own(into.place), Own(out.place), out.step, n, mask)
        bench.run(seed=seed - (1 << 64), draws=draws)
        expected = np.empty((rows, n), dtype)
        reference.dropout_mask(seed, draws, layer, rate, expected)
        np.testing.assert_array_equal(bench.read(out, n), (x.astype(dtype) * expected).astype(np.float64))
