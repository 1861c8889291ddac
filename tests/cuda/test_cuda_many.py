"""Kernels with an axis of models compute for each what the reference computes for one, in every order of threads."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder
from cuda_on_cpu.fake_cupy import Machine
from kernels_on_device import cuda_kernels
from kernels_oracle import DTYPES
from tinynet_kernels import ACTIVATIONS, LOSSES, reference

M = 3
# Models' vectors lie this far apart: not a multiple of what a thread moves at once, and more than one layer takes.
P = 131
# Ragged, tall enough for sums in two stages, and wide enough for packs.
SHAPES = [(7, 5), (2100, 3), (33, 16)]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


@pytest.fixture
def cuda(cp: ModuleType) -> Any:
    cuda_kernels(cp)
    from tinynet_kernels import cuda

    return cuda


def normal(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def in_rows(cp: ModuleType, array: np.ndarray, at: int = 5) -> Any:
    """An array (M, ...) on the device, each model's part within a row of P numbers."""
    rows = cp.asarray(np.full((M, P), 77, array.dtype))
    size = array[0].size
    part = rows[:, at : at + size].reshape(array.shape)
    part[...] = cp.asarray(array)
    return part


def close(got: Any, want: np.ndarray, dtype: str, size: float = 1.0) -> None:
    eps = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(got.get(), want, rtol=eps, atol=eps * size)


@each_dtype
@pytest.mark.parametrize("shared", [False, True], ids=["own x", "shared x"])
def test_the_affine_map_both_ways(cp: ModuleType, cuda: Any, shared: bool, dtype: str) -> None:
    x, w = normal(*(() if shared else (M,)), 9, 4, dtype=dtype), normal(M, 4, 6, dtype=dtype, seed=1)
    b, dy = normal(M, 6, dtype=dtype, seed=2), normal(M, 9, 6, dtype=dtype, seed=3)
    xd, wd, bd, dyd = cp.asarray(x), in_rows(cp, w), in_rows(cp, b, 100), cp.asarray(dy)
    y, dx = cp.empty((M, 9, 6), dtype), cp.empty((M, 9, 4), dtype)
    dw, db = in_rows(cp, np.full_like(w, np.nan)), in_rows(cp, np.full_like(b, np.nan), 100)
    cuda.linear_forward(xd, wd, bd, y)
    cuda.linear_backward(xd, wd, dyd, dw, db, dx)
    want = np.matmul(x.astype(float), w.astype(float))
    close(y, want + b[:, np.newaxis], dtype, 4)
    close(dw, np.matmul(np.swapaxes(x, -1, -2).astype(float), dy.astype(float)), dtype, 9)
    close(db, dy.astype(float).sum(1), dtype, 9)
    close(dx, np.matmul(dy.astype(float), w.astype(float).swapaxes(1, 2)), dtype, 6)
    cuda.linear.linear_descent("float32", xd, wd, dyd, None, None, 0.5)
    close(wd, w - 0.5 * dw.get(), dtype, 9)


@each_dtype
@each_shape
@pytest.mark.parametrize("kind", ["gelu", "tanh", "softmax"])
def test_bias_and_activation_both_ways(
    cp: ModuleType, cuda: Any, kind: str, shape: tuple[int, int], dtype: str
) -> None:
    z, b, dy = normal(M, *shape, dtype=dtype), normal(M, shape[1], dtype=dtype, seed=1), normal(M, *shape, dtype=dtype)
    zd, y, dz = cp.asarray(z), cp.empty(z.shape, dtype), cp.empty(z.shape, dtype)
    cuda.activations.bias_activation(kind, zd, in_rows(cp, b), y, 0.25)
    cuda.activation_backward(kind, zd, y, cp.asarray(dy), dz, 0.25)
    for m in range(M):
        biased, want, slope = (z[m] + b[m]).astype(float), np.empty(shape), np.empty(shape)
        reference.activation_forward(kind, biased, want, 0.25)
        reference.activation_backward(kind, biased, want, dy[m].astype(float), slope, 0.25)
        close(zd[m], biased, dtype)
        close(y[m], want, dtype)
        close(dz[m], slope, dtype)


@each_dtype
@each_shape
def test_sums_of_columns(cp: ModuleType, cuda: Any, shape: tuple[int, int], dtype: str) -> None:
    x = normal(M, *shape, dtype=dtype)
    out = in_rows(cp, np.full((M, shape[1]), np.nan, dtype))
    cuda.linear.sum_rows(cp.asarray(x), out)
    close(out, x.astype(float).sum(1), dtype, np.abs(x).sum(1).max())


@each_dtype
@each_shape
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses(cp: ModuleType, cuda: Any, kind: str, own: bool, shape: tuple[int, int], dtype: str) -> None:
    rng, lead = np.random.default_rng(3), (M,) if own else ()
    p = rng.uniform(0.02, 0.98, (M, *shape)).astype(dtype)
    index = LOSSES[kind].index_target
    t = rng.integers(0, shape[1], (*lead, shape[0])) if index else rng.random((*lead, *shape)).astype(dtype)
    weight, parameters = rng.random((*lead, shape[0])).astype(dtype), rng.uniform(0.1, 0.5, M)
    d, values = cp.empty(p.shape, dtype), cp.full((2, M), 7.0)
    given = cp.asarray(parameters) if own else float(parameters[0])
    cuda.loss_forward_backward(kind, cp.asarray(p), cp.asarray(t), cp.asarray(weight), d, 0.3, given, values[1])
    for m in range(M):
        tm, wm, parameter = (t[m], weight[m], parameters[m]) if own else (t, weight, parameters[0])
        slope, wide = np.empty(shape), tm if index else tm.astype(float)
        want = reference.loss_forward_backward(
            kind, p[m].astype(float), wide, wm.astype(float), slope, 0.3, np.dtype(dtype).type(parameter)
        )
        np.testing.assert_allclose(values.get()[1, m], want, rtol=1e3 * np.finfo(dtype).eps)
        close(d[m], slope, dtype)
    np.testing.assert_array_equal(values.get()[0], 7.0)


@each_dtype
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_rows_are_picked_by_an_order_of_each_model(cp: ModuleType, cuda: Any, own: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    source, order, weight = rng.normal(size=(20, 3)), rng.integers(0, 20, (M, 11)), rng.normal(size=(M, 20))
    index = cp.asarray(order)[:, 2:9] if own else cp.asarray(order[0, 2:9])
    rows, picked, owned = cp.empty((M, 7, 3), dtype), cp.empty((M, 7), dtype), cp.empty((M, 7), dtype)
    cuda.gather_rows(cp.asarray(source), index, rows)
    cuda.gather_rows(cp.asarray(weight[0]), index, picked)
    cuda.data.gather_own(cp.asarray(weight), index, owned)
    for m in range(M):
        place = order[m if own else 0, 2:9]
        np.testing.assert_array_equal(rows.get()[m], source[place].astype(dtype))
        np.testing.assert_array_equal(picked.get()[m], weight[0, place].astype(dtype))
        np.testing.assert_array_equal(owned.get()[m], weight[m, place].astype(dtype))


@each_dtype
def test_columns_are_normalized_for_each_model(cp: ModuleType, cuda: Any, dtype: str) -> None:
    x, mean, scale = normal(M, 9, 5, dtype=dtype), normal(M, 5, seed=1), normal(M, 5, seed=2)
    held = in_rows(cp, np.concatenate([mean, scale], axis=1))
    y, dx = cp.empty(x.shape, dtype), cp.empty(x.shape, dtype)
    cuda.normalize_forward(cp.asarray(x), held[:, :5], held[:, 5:], y)
    cuda.normalize_backward(held[:, 5:], cp.asarray(x), dx)
    np.testing.assert_array_equal(y.get(), ((x - mean[:, np.newaxis]) / scale[:, np.newaxis]).astype(dtype))
    np.testing.assert_array_equal(dx.get(), (x / scale[:, np.newaxis]).astype(dtype))


@each_dtype
def test_masks_are_those_of_each_model_alone(cp: ModuleType, cuda: Any, dtype: str) -> None:
    seeds, steps = np.array([1, 2**40 + 3, 7], np.uint64), np.array([0, 5, 2**33], np.uint64)
    rates, masks = np.array([0.0, 0.3, 0.9]), cp.empty((M, 7, 5), dtype)
    cuda.dropout_mask(cp.asarray(seeds), cp.asarray(steps), 4, cp.asarray(rates), masks)
    for m in range(M):
        want = np.empty((7, 5), dtype)
        reference.dropout_mask(int(seeds[m]), int(steps[m]), 4, float(rates[m]), want)
        np.testing.assert_array_equal(masks.get()[m], want)


@each_dtype
@pytest.mark.parametrize("n", [5, 9000])
def test_clipping_is_by_the_norm_of_each_model(cp: ModuleType, cuda: Any, n: int, dtype: str) -> None:
    gradients, limits = normal(M, n, dtype=dtype), np.array([0.1, 1e9, 2.0])
    for given in (limits, 0.5):
        place = cp.asarray(given) if np.ndim(given) else given
        clipped, held, norms = cp.asarray(gradients), cp.asarray(gradients), cp.empty(M, np.float64)
        cuda.clip_by_norm(clipped, place, norms)
        cuda.clip_by_value(held, place.astype(dtype) if np.ndim(given) else place)
        for m, limit in enumerate(np.broadcast_to(given, M)):
            want, value = gradients[m].astype(float), gradients[m].copy()
            norm = reference.clip_by_norm(want, float(limit))
            reference.clip_by_value(value, float(limit))
            np.testing.assert_allclose(norms.get()[m], norm, rtol=1e-12)
            close(clipped[m], want, dtype)
            np.testing.assert_array_equal(held.get()[m], value)


OPTIMIZERS: dict[str, tuple[Any, ...]] = {
    "sgd": (np.array([0.0, 0.9, 0.5]), False, np.array([0.1, 0.0, 0.0])),
    "nesterov": (np.array([0.5, 0.9, 0.5]), True, 0.01),
    "adam": (np.array([0.5, 0.9, 0.8]), 0.99, 1e-3, np.array([0.1, 0.0, 0.0])),
    "adamw": (0.9, np.array([0.5, 0.9, 0.8]), 1e-3, np.array([0.1, 0.0, 0.3])),
    "rmsprop": (np.array([0.5, 0.9, 0.8]), 1e-3, 0.1, 0.9, True),
}


@each_dtype
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_each_model_with_its_settings(cp: ModuleType, cuda: Any, name: str, dtype: str) -> None:
    settings, kind, n = OPTIMIZERS[name], "sgd" if name == "nesterov" else name, 700
    parameters, gradients = normal(M, n, dtype=dtype), normal(M, n, dtype=dtype, seed=1)
    n_moments = {"sgd": 1, "rmsprop": 3}.get(kind, 2)
    moments = np.abs(normal(n_moments, M, n, dtype=dtype, seed=2))
    if kind == "rmsprop":
        moments[0] += 2 * moments[2] ** 2  # As averages of squares and of what is squared are.
    steps, rates = np.array([1, 5, 100]), np.array([0.1, 0.2, 0.3])
    numbers = cuda.optimizers.numbers_of_models(kind, settings, steps, rates).astype(dtype)
    ours, remembered = cp.asarray(parameters), cp.asarray(moments)
    cuda.optimizers.step_of_models(kind, ours, cp.asarray(gradients), remembered, cp.asarray(numbers), velocities=True)
    for m in range(M):
        own = [float(np.broadcast_to(setting, M)[m]) for setting in settings]
        p, kept = parameters[m].astype(float), moments[:, m].astype(float)
        step = getattr(reference, f"{kind}_step")
        step(p, gradients[m].astype(float), kept, int(steps[m]), float(rates[m]), *own)
        close(ours[m], p, dtype)
        close(remembered[:, m], kept, dtype)


def test_a_model_without_momentum_remembers_no_velocity_but_its_average(cp: ModuleType, cuda: Any) -> None:
    gradients, moments = normal(2, 9), cp.zeros((3, 2, 9))
    settings = (0.9, 1e-8, 0.0, np.array([0.0, 0.5]), True)
    numbers = cuda.optimizers.numbers_of_models("rmsprop", settings, np.ones(2), np.full(2, 0.1))
    cuda.optimizers.step_of_models(
        "rmsprop", cp.zeros((2, 9)), cp.asarray(gradients), moments, cp.asarray(numbers), velocities=True
    )
    kept = moments.get()
    assert (kept[1, 0] == 0).all()
    assert (kept[1, 1] != 0).all()
    np.testing.assert_allclose(kept[2], 0.1 * gradients, rtol=1e-12)


@each_dtype
def test_results_do_not_depend_on_the_order_of_threads(cp: ModuleType, machine: Machine, cuda: Any, dtype: str) -> None:
    def everything() -> list[np.ndarray]:
        x, b, weight = (normal(M, *shape, dtype=dtype) for shape in [(2100, 7), (7,), (2100,)])
        results = [cp.asarray(x)]
        for kind in ("tanh", "softmax"):
            assert kind in ACTIVATIONS
            results += [cp.asarray(x), cp.empty(x.shape, dtype)]
            cuda.activations.bias_activation(kind, *results[-2:-1], in_rows(cp, b), results[-1], 0.0)
        for kind in ("mse", "cross_entropy"):
            results += [cp.empty(x.shape, dtype), cp.empty(M)]
            given = (cp.asarray(x), cp.asarray(np.abs(x)), cp.asarray(weight), results[-2], 0.5, 0.0, results[-1])
            cuda.loss_forward_backward(kind, *given)
        results += [cp.empty((M, 7), dtype), cp.empty((M, 2100, 7), dtype), cp.empty(M)]
        cuda.linear.sum_rows(cp.asarray(x), results[-3])
        counters = cp.asarray(np.arange(M, dtype=np.uint64))
        cuda.dropout_mask(counters, counters, 0, cp.full(M, 0.5), results[-2])
        cuda.clip_by_norm(results[-2].reshape(M, -1), 1.0, results[-1])
        return [array.get() for array in results]

    runs = []
    for name, seed in builder.orders(n_random=1):
        with builder.order(name, seed):
            runs.append(everything())
    for run in runs[1:]:
        for got, want in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(got, want)


# Products, and what the stand-in makes of them.


@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(5, 7, 3), (1, 1, 1), (1, 6, 1), (8, 1, 4), (4, 2, 1), (2, 0, 3)]
)
def test_products_of_many_models_are_those_of_each(
    cp: ModuleType, cuda: Any, rows: int, inner: int, columns: int, transposed: str
) -> None:
    from tinynet_kernels.cuda.products import product

    a, b, c = normal(M, rows, inner), normal(M, inner, columns, seed=1), normal(M, rows, columns, seed=2)
    ours = [
        in_rows(cp, np.ascontiguousarray(x.swapaxes(1, 2))).swapaxes(1, 2) if name in transposed else in_rows(cp, x)
        for name, x in {"a": a, "b": b}.items()
    ]
    plain, added = in_rows(cp, np.full_like(c, np.nan)), in_rows(cp, c)
    product(*ours, plain)
    product(*ours, added, alpha=-0.5, beta=2.0)
    np.testing.assert_allclose(plain.get(), a @ b, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(added.get(), 2 * c - 0.5 * (a @ b), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_factors_of_products_of_many_models_are_rounded(cp: ModuleType, cuda: Any, precision: str) -> None:
    from tinynet_kernels.cuda.products import product

    a, b = (np.random.default_rng(seed).uniform(1, 2, (M, 64, 64)).astype(np.float32) for seed in (0, 1))
    out = cp.empty((M, 64, 64), np.float32)
    product(cp.asarray(a), cp.asarray(b), out, precision)
    error = np.abs(out.get() / (a.astype(float) @ b.astype(float)) - 1).max()
    assert 1e-6 < error < 2.1 * {"tf32": 2.0**-11, "bf16": 2.0**-8}[precision]


def test_a_product_of_many_models_to_scattered_numbers_is_refused(cp: ModuleType, cuda: Any) -> None:
    from tinynet_kernels.cuda.products import product

    with pytest.raises(ValueError, match="written to C-contiguous arrays"):
        product(cp.empty((2, 4, 3)), cp.empty((2, 3, 5)), cp.empty((2, 5, 4)).swapaxes(1, 2))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"ldb": 1}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"strideC": 15}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"strideA": -16}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"batchCount": -1}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"Btype": 1}, "CUBLAS_STATUS_NOT_SUPPORTED"),
        ({"batchCount": 4}, "ends behind its array"),
        ({"strideB": 40}, "ends behind its array"),
    ],
)
def test_the_stand_in_refuses_batches_that_cannot_be(
    machine: Machine, cp: ModuleType, change: dict[str, int], error: str
) -> None:
    a, b, c = (cp.empty((3, 4, 4), np.float32) for _ in "abc")
    numbers = np.ones(2, np.float32)
    given = {"handle": cp.cuda.device.get_cublas_handle(), "transa": 0, "transb": 0, "m": 4, "n": 4, "k": 4}
    given |= {"alpha": numbers.ctypes.data, "A": a.data.ptr, "Atype": 0, "lda": 4, "strideA": 16}
    given |= {"B": b.data.ptr, "Btype": 0, "ldb": 4, "strideB": 16, "beta": numbers.ctypes.data}
    given |= {"C": c.data.ptr, "Ctype": 0, "ldc": 4, "strideC": 16, "batchCount": 3, "computeType": 68, "algo": -1}
    cp.cuda.cublas.gemmStridedBatchedEx(*given.values())
    with pytest.raises(RuntimeError, match=error):
        cp.cuda.cublas.gemmStridedBatchedEx(*(given | change).values())


def test_the_stand_in_refuses_results_that_overlap_factors(machine: Machine, cp: ModuleType) -> None:
    a, numbers = cp.empty((3, 4, 4), np.float32), np.ones(2, np.float32)
    one = (a.data.ptr, 0, 4, 16)
    handle = cp.cuda.device.get_cublas_handle()
    with pytest.raises(RuntimeError, match="C overlaps A or B"):
        cp.cuda.cublas.gemmStridedBatchedEx(
            *(handle, 0, 0, 4, 4, 4, numbers.ctypes.data, *one, *one, numbers.ctypes.data + 4, *one, 3, 68, -1)
        )
