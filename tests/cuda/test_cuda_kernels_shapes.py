"""The CUDA kernels at sizes that leave blocks, warps and packs ragged, on hard numbers, and in every order of threads.

What they compute is tested with the other modules, in tests/kernels; here the reference in float64 is the oracle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from kernels_on_device import OnDevice, cuda_kernels
from kernels_oracle import DTYPES, assert_slopes_agree, assert_values_agree
from tinynet_kernels import ACTIVATIONS, LOSSES, reference

# Around the sizes of packs (2, 4), warps (32) and blocks (256), a wide one, and tall ones that take several blocks.
SHAPES = [(1, 1), (1, 300), (300, 1), (33, 7), (3, 515), (5, 8), (64, 32), (2100, 3), (600, 40), (9000, 1)]
SIZES = [1, 2, 31, 33, 255, 1024, 5000, 70_001]
ALPHA, DELTA = 0.25, 0.75
PROBABILITIES = {"bce", "cross_entropy_probabilities", "cross_entropy_probabilities_index"}
ELEMENTWISE = sorted(kind for kind, traits in ACTIVATIONS.items() if traits.elementwise)

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def kernels(cp: ModuleType) -> OnDevice:
    return cuda_kernels(cp)


@pytest.fixture(params=["enough blocks", "few blocks"])
def looping(request: pytest.FixtureRequest, kernels: OnDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give kernels the blocks that they would get, and so few that each thread must take many elements."""
    if request.param == "few blocks":
        from tinynet_kernels.cuda import grids

        monkeypatch.setattr(grids, "_MAX_BLOCKS", 2)
        monkeypatch.setattr(grids, "_MAX_SUMS", 2)


def normal(shape: Any, dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def wide(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(array.astype(np.float64) for array in arrays)


def assert_close(got: np.ndarray, want: np.ndarray, units: float = 16, size: float = 1.0) -> None:
    eps = np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, want, rtol=units * eps, atol=units * eps * size)


@pytest.mark.usefixtures("looping")
@each_dtype
@each_shape
@pytest.mark.parametrize("kind", ["gelu", "tanh", "softmax"])
def test_bias_and_activation(kernels: OnDevice, kind: str, shape: tuple[int, int], dtype: str) -> None:
    x, w, b = normal((shape[0], 2), dtype), normal((2, shape[1]), dtype, 1), normal(shape[1], dtype, 2)
    z, y, only = (np.full(shape, np.nan, dtype) for _ in range(3))
    want_z, want_y = np.empty(shape), np.empty(shape)
    kernels.linear_activation_forward(kind, x, w, b, z, y, ALPHA)
    kernels.linear_activation_forward(kind, x, w, b, only, only, ALPHA)
    reference.linear_activation_forward(kind, *wide(x, w, b), want_z, want_y, ALPHA)
    assert_close(z, want_z, size=4)
    assert_close(y, want_y, size=4)
    np.testing.assert_array_equal(only, y)


@pytest.mark.usefixtures("looping")
@each_dtype
@each_shape
@pytest.mark.parametrize("kind", ["silu", "sigmoid", "softmax"])
def test_activation_both_ways(kernels: OnDevice, kind: str, shape: tuple[int, int], dtype: str) -> None:
    z, dy = normal(shape, dtype), normal(shape, dtype, 1)
    y, dz = np.full(shape, np.nan, dtype), np.full(shape, np.nan, dtype)
    kernels.activation_forward(kind, z, y, ALPHA)
    kernels.activation_backward(kind, z, y, dy, dz, ALPHA)
    want_y, want_dz = np.empty(shape), np.empty(shape)
    reference.activation_forward(kind, *wide(z), want_y, ALPHA)
    reference.activation_backward(kind, *wide(z), want_y, *wide(dy), want_dz, ALPHA)
    assert_close(y, want_y)
    assert_close(dz, want_dz)


@each_dtype
@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_hard_numbers(kernels: OnDevice, kind: str, dtype: str) -> None:
    limits = np.finfo(dtype)
    rng = np.random.default_rng(0)
    exponents = rng.uniform(limits.minexp, limits.maxexp, 4000)
    special = [0.0, 1.0, limits.tiny, limits.max, limits.smallest_subnormal, np.inf, np.nan]
    sizes = np.concatenate([np.exp2(exponents), rng.uniform(0, 100, 4000), special])
    z = np.concatenate([sizes, -sizes]).astype(dtype)[:, np.newaxis]
    y, got = np.empty_like(z), np.full_like(z, np.nan)
    reference.activation_forward(kind, z, y, ALPHA)
    kernels.activation_forward(kind, z, got, ALPHA)
    assert_values_agree(kind, z, got, y, flushes=kernels.flushes_subnormals)
    want, got = np.empty_like(z), np.full_like(z, np.nan)
    reference.activation_backward(kind, z, y, np.ones_like(z), want, ALPHA)
    kernels.activation_backward(kind, z, y, np.ones_like(z), got, ALPHA)
    assert_slopes_agree(kind, z, got, want, flushes=kernels.flushes_subnormals)


@pytest.mark.usefixtures("looping")
@each_dtype
@each_shape
def test_column_sums(kernels: OnDevice, shape: tuple[int, int], dtype: str) -> None:
    x, dy = normal((shape[0], 2), dtype), normal(shape, dtype, 1)
    dw, db = np.full((2, shape[1]), np.nan, dtype), np.full(shape[1], np.nan, dtype)
    kernels.linear_backward(x, normal((2, shape[1]), dtype), dy, dw, db, None)
    want = dy.astype(np.float64).sum(0)
    assert (np.abs(db - want) <= np.finfo(dtype).eps * 40 * np.abs(dy.astype(np.float64)).sum(0)).all()


def loss_problem(kind: str, shape: tuple[int, int], dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    prediction = rng.uniform(0.02, 0.98, shape) if kind in PROBABILITIES else rng.normal(size=shape)
    target = rng.integers(0, shape[1], shape[0]) if LOSSES[kind].index_target else rng.random(shape).astype(dtype)
    return prediction.astype(dtype), target, rng.random(shape[0]).astype(dtype)


@pytest.mark.usefixtures("looping")
@each_dtype
@each_shape
@pytest.mark.parametrize("kind", LOSSES)
def test_losses(kernels: OnDevice, kind: str, shape: tuple[int, int], dtype: str) -> None:
    prediction, target, weight = loss_problem(kind, shape, dtype)
    wide_target = target if LOSSES[kind].index_target else target.astype(np.float64)
    for weights in [(None, None), (weight, *wide(weight))]:
        gradient, want_gradient = np.full(shape, np.nan, dtype), np.empty(shape)
        value = kernels.loss_forward_backward(kind, prediction, target, weights[0], gradient, 0.3, DELTA)
        want = reference.loss_forward_backward(
            kind, *wide(prediction), wide_target, weights[1], want_gradient, 0.3, DELTA
        )
        # A row's terms are added in the dtype, up to 515 of them over 32 lanes.
        np.testing.assert_allclose(value, want, rtol=40 * np.finfo(dtype).eps)
        assert_close(gradient, want_gradient, units=40, size=100 if kind == "bce" else 1)


@pytest.mark.usefixtures("looping")
@each_dtype
@pytest.mark.parametrize("n", SIZES)
def test_optimizers_and_clipping(kernels: OnDevice, n: int, dtype: str) -> None:
    for name, settings, n_moments in [
        ("sgd_step", (0.05, 0.9, True, 0.1), 1),
        ("adam_step", (0.05, 0.8, 0.95, 1e-7, 0.1), 2),
        ("adamw_step", (0.05, 0.8, 0.95, 1e-7, 0.1), 2),
        ("rmsprop_step", (0.05, 0.9, 1e-7, 0.1, 0.9, True), 3),
    ]:
        parameters, gradients, moments = normal(n, dtype), normal(n, dtype, 1), np.zeros((n_moments, n), dtype)
        want, want_moments = parameters.astype(np.float64), moments.astype(np.float64)
        for step in (1, 2):
            getattr(kernels, name)(parameters, gradients, moments, step, *settings)
            getattr(reference, name)(want, *wide(gradients), want_moments, step, *settings)
        tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]  # centered RMSprop cancels
        np.testing.assert_allclose(parameters, want, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(moments, want_moments, rtol=tolerance, atol=tolerance)
    gradients = normal(n, dtype, 2)
    before = gradients.astype(np.float64)
    norm = kernels.clip_by_norm(gradients, 0.1)
    np.testing.assert_allclose(norm, np.linalg.norm(before), rtol=1e-13)
    assert_close(gradients, before * (0.1 / (norm + 1e-6)))
    kernels.clip_by_value(gradients, 0.01)
    assert_close(gradients, np.clip(before * (0.1 / (norm + 1e-6)), -0.01, 0.01))


@pytest.mark.usefixtures("looping")
@each_dtype
@each_shape
def test_moving_and_scaling(kernels: OnDevice, shape: tuple[int, int], dtype: str) -> None:
    x, mean, scale = normal(shape, dtype), normal(shape[1], "float64", 1), 1 + np.abs(normal(shape[1], "float64", 2))
    y, dx, product, picked = (np.full(shape, np.nan, dtype) for _ in range(4))
    kernels.normalize_forward(x, mean, scale, y)
    kernels.normalize_backward(scale, x, dx)
    kernels.multiply(x, x, product)
    index = np.random.default_rng(4).integers(0, shape[0], shape[0])
    kernels.gather_rows(x, index, picked)
    assert_close(y, (x.astype(np.float64) - mean) / scale)
    np.testing.assert_array_equal(dx, (x / scale).astype(dtype))
    np.testing.assert_array_equal(product, x * x)
    np.testing.assert_array_equal(picked, x[index])


@pytest.mark.usefixtures("looping")
@each_dtype
@pytest.mark.parametrize("n", SIZES)
def test_masks_are_the_bits_of_the_reference(kernels: OnDevice, n: int, dtype: str) -> None:
    for seed, step, layer, rate in [(0, 0, 0, 0.5), (2**64 - 1, 2**64 - 1, 2**32 - 1, 0.999), (5, 2**33 + 1, 3, 0.0)]:
        ours, theirs = np.full(n, np.nan, dtype), np.empty(n, dtype)
        kernels.dropout_mask(seed, step, layer, rate, ours)
        reference.dropout_mask(seed, step, layer, rate, theirs)
        np.testing.assert_array_equal(ours, theirs)


def test_philox_gives_the_published_answers(cp: ModuleType, kernels: OnDevice) -> None:
    from tinynet_kernels import cuda

    # Random123's kat_vectors; the words of the reference are tested against the others.
    words = cuda.philox(*[0xFFFFFFFF] * 6)
    assert [int(word) for word in words] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    blocks = cuda.philox(cp.arange(700), 1, 2, 3, 4, 5)
    for got, want in zip(blocks, reference.philox(np.arange(700), 1, 2, 3, 4, 5), strict=True):
        np.testing.assert_array_equal(got.get(), want)


VIEWS: list[Callable[[Any], Any]] = [
    lambda array: array,
    lambda array: array[:, ::2],
    lambda array: array[::-1, ::-1],
    lambda array: array.T,
    lambda array: array[:, 1],
    lambda array: array[::-1, 1],
]


@pytest.mark.parametrize("out_dtype", [*DTYPES, "int32", "int64"])
@pytest.mark.parametrize(
    "source_dtype",
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", *DTYPES],
)
def test_gather_casts_from_any_dtype_and_strides(
    cp: ModuleType, kernels: OnDevice, source_dtype: str, out_dtype: str
) -> None:
    from tinynet_kernels import cuda

    base = np.random.default_rng(5).integers(0, 100, (8, 8)).astype(source_dtype)
    for view, index_dtype in itertools.product(VIEWS, ["int32", "int64"]):
        index = np.array([7, 0, 0, 3], index_dtype)
        source = view(cp.asarray(base))
        out = cp.empty((4, *source.shape[1:]), out_dtype)
        cuda.gather_rows(source, cp.asarray(index), out)
        np.testing.assert_array_equal(out.get(), view(base)[index].astype(out_dtype))


def test_half_precision_numbers_keep_their_values(cp: ModuleType, kernels: OnDevice) -> None:
    from tinynet_kernels import cuda

    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    out = cp.empty(every.size, np.float32)
    cuda.gather_rows(cp.asarray(every), cp.arange(every.size), out)
    np.testing.assert_array_equal(out.get(), every.astype(np.float32))


@each_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_flag_shows_one_number_that_is_not_finite(
    cp: ModuleType, kernels: OnDevice, bad: float, dtype: str
) -> None:
    from tinynet_kernels.cuda.data import flag_nonfinite

    for place in (0, 4999):
        values, flag = np.full(5000, np.finfo(dtype).max, dtype), cp.zeros(1, np.int32)
        flag_nonfinite(cp.asarray(values), flag)
        assert flag.get()[0] == 0
        values[place] = bad
        flag_nonfinite(cp.asarray(values), flag)
        assert flag.get()[0] == 1
