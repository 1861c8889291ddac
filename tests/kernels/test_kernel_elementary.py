"""The elementary functions of compiled code, against 60-digit arithmetic."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import mpmath
import numba
import numpy as np
import pytest
from kernels_oracle import DTYPES, error_in_ulps, exact
from tinynet_kernels.cpu import elementary


class Case(NamedTuple):
    """A function: its definition, where it is defined, and the bound of its error that kernels/README.md states."""

    name: str
    definition: Callable[[Any], Any]
    low: float
    high: float
    ulps: float


CASES = [
    Case("exp", mpmath.exp, -np.inf, np.inf, 2),
    Case("expm1_nonpositive", mpmath.expm1, -np.inf, 0.0, 3),
    Case("log1p_fraction", mpmath.log1p, 0.0, 1.0, 3),
    Case("log", mpmath.log, 1e-37, np.inf, 2),
    Case("log1p", mpmath.log1p, -0.999, np.inf, 4),
    Case("tanh", mpmath.tanh, -np.inf, np.inf, 4),
]
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@cache
def compiled(name: str) -> Any:
    function = getattr(elementary, name)

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz"})
    def loop(x: Any, y: Any) -> None:
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


def apply(case: Case, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    compiled(case.name)(x, y)
    return y


def points(case: Case, dtype: str) -> np.ndarray:
    """Numbers of every size in the domain, thick where the argument reduction changes its step."""
    limits = np.finfo(dtype)
    rng = np.random.default_rng(1)
    steps = np.log(2.0) * (np.arange(-1080, 1030) + 0.5)
    sizes = np.concatenate([np.geomspace(limits.tiny, 800, 400), rng.uniform(0, 100, 800), rng.uniform(0, 1, 800)])
    x = np.concatenate([sizes, -sizes, steps, [0.0, limits.tiny * 0.5]]).astype(dtype)
    top = np.log(float(limits.max)) if case.name == "exp" else np.inf
    return x[(x >= case.low) & (x <= case.high) & (x <= top)]


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_error_is_within_the_stated_ulps(case: Case, dtype: str) -> None:
    x = points(case, dtype)
    for argument, got in zip(x, apply(case, x), strict=True):
        want = case.definition(exact(argument))
        error = error_in_ulps(got, want, abs(want), dtype)
        assert error <= case.ulps, f"{case.name}({argument}) is {got}, off by {error} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_nan_stays_nan(case: Case, dtype: str) -> None:
    assert np.isnan(apply(case, np.full(33, np.nan, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_overflows_to_infinity_and_underflows_to_zero(dtype: str) -> None:
    limit = np.log(float(np.finfo(dtype).max))
    x = np.array([np.inf, 1e30, limit * (1 + 1e-3), -1e30, -np.inf, -limit * 1.2], dtype)
    np.testing.assert_array_equal(apply(CASES[0], x), [np.inf, np.inf, np.inf, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_ends_at_one_and_is_never_more(dtype: str) -> None:
    near = np.arange(np.float32(7).view("i4"), np.float32(10).view("i4"), 5, dtype="i4").view("f4").astype(dtype)
    far = np.array([19.1, 89.0, 1e30, np.inf], dtype)
    tanh = CASES[-1]
    assert (apply(tanh, far) == 1).all()
    assert (apply(tanh, -far) == -1).all()
    assert (abs(apply(tanh, np.concatenate([near, -near]))) <= 1).all()


def test_exp_rounds_subnormal_results_once() -> None:
    x = np.linspace(-745.1, -708.5, 2000)
    smallest = np.nextafter(0, 1)
    for argument, got in zip(x, apply(CASES[0], x), strict=True):
        assert abs(exact(got) - mpmath.exp(exact(argument))) <= exact(smallest) * 0.501 + exact(got) * 2**-52


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_loops_vectorise(case: Case, dtype: str) -> None:
    x = np.zeros(4, dtype)
    apply(case, x)
    loop = compiled(case.name)
    signature = next(signature for signature in loop.signatures if signature[0].dtype == numba.from_dtype(x.dtype))
    element = {"float32": "float", "float64": "double"}[dtype]
    assert re.search(rf"fmul [a-z ]*<\d+ x {element}>", loop.inspect_llvm(signature))
