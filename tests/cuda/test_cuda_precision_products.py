"""Products in TF32 and bfloat16, by the kernels and by the stand-in for CuPy."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine, cublas
from precision_networks import RNG, each_precision

# A factor is rounded by at most half a unit of its last bit: 2**-11 in TF32, 2**-8 in bfloat16.
ROUNDING = {"tf32": 2.0**-11, "bf16": 2.0**-8}

pytestmark = pytest.mark.usefixtures("cp")


# Products.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(5, 7, 3), (1, 1, 1), (1, 6, 1), (8, 1, 4), (0, 3, 2), (4, 2, 1)]
)
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_a_product_is_that_of_float64(
    cp: ModuleType, dtype: str, rows: int, inner: int, columns: int, transposed: str
) -> None:
    from tinynet_kernels.cuda.products import product

    rng = np.random.default_rng(rows)
    a, b = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    c = rng.normal(size=(rows, columns)).astype(dtype)
    ours = [
        cp.asarray(np.ascontiguousarray(x.T)).T if n in transposed else cp.asarray(x)
        for n, x in {"a": a, "b": b}.items()
    ]
    plain, added = cp.empty((rows, columns), dtype), cp.asarray(c)
    product(*ours, plain)
    product(*ours, added, alpha=-0.5, beta=2.0)
    exact, eps = a.astype(float) @ b.astype(float), 4 * inner * np.finfo(dtype).eps
    np.testing.assert_allclose(plain.get(), exact, rtol=0, atol=4 * eps)
    np.testing.assert_allclose(added.get(), 2 * c.astype(float) - 0.5 * exact, rtol=0, atol=8 * eps)


@pytest.mark.parametrize(("beta", "expected"), [(0.0, 0.0), (2.0, 6.0)])
def test_a_product_over_nothing_is_zero(cp: ModuleType, beta: float, expected: float) -> None:
    from tinynet_kernels.cuda.products import product

    out = cp.asarray(np.full((2, 4), 3.0))
    product(cp.empty((2, 0)), cp.empty((0, 4)), out, beta=beta)
    np.testing.assert_array_equal(out.get(), expected)


def test_a_product_of_scattered_numbers_is_refused(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.products import product

    with pytest.raises(ValueError, match=r"contiguous, or whose transpose is; got shape \(4, 2\)"):
        product(cp.empty((4, 4))[:, ::2], cp.empty((2, 3)), cp.empty((4, 3)))


@each_precision
def test_factors_are_rounded_and_sums_are_not(cp: ModuleType, precision: str) -> None:
    from tinynet_kernels.cuda.products import product

    # Multiples of 16, as wide as tensor cores like it, so that a GPU does use them.
    a, b = (RNG.uniform(1, 2, (64, 64)).astype(np.float32) for _ in "ab")
    exact, out = a.astype(float) @ b.astype(float), cp.empty((64, 64), np.float32)
    product(cp.asarray(a), cp.asarray(b), out, precision)
    error = np.abs(out.get() / exact - 1).max()
    assert error < 2.1 * ROUNDING[precision]
    assert error > 1e-6, "no less exact than float32: was the precision passed on?"
    # Powers of two lose nothing, and 4096 + 1/4096, which is 25 bits from end to end, is summed in float32.
    one, left = np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32)
    left[:, 0], left[:, 1] = 2048, 2.0**-12
    product(cp.asarray(left), cp.asarray(one), out, precision)
    np.testing.assert_array_equal(out.get(), np.float32(2048 + 2.0**-12))


@each_precision
@pytest.mark.parametrize("result", ["y", "activated", "dw", "dx", "descended", "dx of descent"])
def test_each_product_of_the_affine_map_is_in_the_precision(cp: ModuleType, precision: str, result: str) -> None:
    from tinynet_kernels.cuda.linear import in_precision

    hosts = [RNG.uniform(1, 2, (64, 64)).astype(np.float32) for _ in range(3)]
    (dx_, dw_, y_), kernels = (cp.empty((64, 64), np.float32) for _ in range(3)), in_precision(precision)
    device_x, device_w, device_dy = map(cp.asarray, hosts)
    kernels["linear_forward"](device_x, device_w, None, y_)
    kernels["linear_backward"](device_x, device_w, device_dy, dw_, None, dx_)
    got = {"y": y_.get(), "dw": dw_.get(), "dx": dx_.get()}
    kernels["linear_activation_forward"]("identity", device_x, device_w, None, y_, y_)
    kernels["linear_descent"](device_x, device_w, device_dy, None, dx_, 1.0)
    got |= {"activated": y_.get(), "descended": hosts[1] - device_w.get(), "dx of descent": dx_.get()}
    x64, w64, dy64 = (host.astype(float) for host in hosts)
    exact = {"y": x64 @ w64, "dw": x64.T @ dy64, "dx": dy64 @ w64.T}
    exact |= {"activated": exact["y"], "descended": exact["dw"], "dx of descent": exact["dx"]}
    error = np.abs(got[result] / exact[result] - 1).max()
    # Without the rounding of factors, that of float32 sums is below 3e-6.
    assert 1e-5 < error < 2.1 * ROUNDING[precision]


# The stand-in.


@pytest.mark.parametrize("bits", [7, 10])
def test_the_stand_in_rounds_to_the_nearest_with_ties_to_even(bits: int) -> None:
    unit = 2.0**-bits
    given = np.float32([1, 1 + unit / 2, 1 + 1.5 * unit, 1 + 0.51 * unit, -1 - 0.49 * unit, np.inf, 3e38, np.nan])
    expected = np.float32(
        [1, 1, 1 + 2 * unit, 1 + unit, -1, np.inf, np.round(3e38 / 2.0**127 / unit) * unit * 2.0**127]
    )
    np.testing.assert_array_equal(cublas.rounded(given, bits)[:-1], expected)
    assert np.isnan(cublas.rounded(given, bits)[-1])


def test_matmul_obeys_the_setting_for_tf32_and_has_none_for_bfloat16(cp: ModuleType) -> None:
    constants, core = importlib.import_module("cupy._core._routines_linalg"), cp._core
    a = cp.asarray(np.full((64, 64), 1 + 2.0**-12, np.float32))
    before = core.get_compute_type(np.float32)
    products = {}
    for name in ("DEFAULT", "TF32", "BF16"):
        core.set_compute_type(np.float32, getattr(constants, f"COMPUTE_TYPE_{name}"))
        products[name] = cp.matmul(a, a).get()[0, 0]
    core.set_compute_type(np.float32, before)
    assert products["TF32"] == 64
    assert products["BF16"] == products["DEFAULT"] > 64


def test_the_setting_is_not_for_old_gpus(machine: Machine, cp: ModuleType) -> None:
    machine.compute_capability = "75"
    with pytest.warns(UserWarning, match="COMPUTE_TYPE_DEFAULT will be used instead"):
        cp._core.set_compute_type(np.float32, 7)
    assert cp._core.get_compute_type(np.float32) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"lda": 1}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"computeType": 70}, "CUBLAS_STATUS_NOT_SUPPORTED"),
        ({"handle": 1}, "CUBLAS_STATUS_NOT_INITIALIZED"),
        ({"A": 64}, "where no array lies"),
        ({"k": 99, "ldb": 99}, "ends behind its array"),
    ],
)
def test_the_stand_in_refuses_products_that_cannot_be(
    machine: Machine, cp: ModuleType, change: dict[str, int], error: str
) -> None:
    a, b, c = (cp.empty((4, 4), np.float32) for _ in "abc")
    numbers = np.ones(2, np.float32)
    arguments = {"handle": cp.cuda.device.get_cublas_handle(), "transa": 0, "transb": 0, "m": 4, "n": 4, "k": 4}
    arguments |= {"alpha": numbers.ctypes.data, "A": a.data.ptr, "Atype": 0, "lda": 4}
    arguments |= {"B": b.data.ptr, "Btype": 0, "ldb": 4, "beta": numbers.ctypes.data}
    arguments |= {"C": c.data.ptr, "Ctype": 0, "ldc": 4, "computeType": 68, "algo": -1}
    with pytest.raises(RuntimeError, match=error):
        cp.cuda.cublas.gemmEx(*(arguments | change).values())


def test_the_stand_in_refuses_none_for_a_pointer(machine: Machine, cp: ModuleType) -> None:
    launch = cp.RawKernel('extern "C" __global__ void f(float *x) {}', "f")
    with pytest.raises(TypeError, match="f is launched with None"):
        launch((1,), (1,), (None,))
