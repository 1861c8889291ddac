"""The line search of L-BFGS: what it returns fulfils the strong Wolfe conditions, on functions that are hard on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.backends.second_order.wolfe import CURVATURE, SUFFICIENT, Point, strong_wolfe

Function = Callable[[float], tuple[float, float]]

FUNCTIONS: dict[str, Function] = {
    # Moré and Thuente (1994), equations 5.1 to 5.3, each with its slope.
    "far minimum": lambda a: (-a / (a * a + 2), (a * a - 2) / (a * a + 2) ** 2),
    "steep": lambda a: ((a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    "waves": lambda a: (math.cos(5 * a) + 0.1 * a * a - 0.5 * a, -5 * math.sin(5 * a) + 0.2 * a - 0.5),
    "a wall": lambda a: (-4 * a - math.log(0.3 - a), 1 / (0.3 - a) - 4) if a < 0.3 else (math.nan, math.nan),
    "a far wall": lambda a: (-2 * a - math.log(5 - a), 1 / (5 - a) - 2) if a < 5 else (math.inf, math.nan),
}


def on(function: Function) -> Callable[[float], Point]:
    return lambda length: Point(length, *function(length))


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_conditions_hold(name: str, first: float) -> None:
    at = on(FUNCTIONS[name])
    start = at(0.0)
    length = strong_wolfe(at, start, first)
    assert length is not None
    end = at(length)
    assert end.loss <= start.loss + SUFFICIENT * length * start.slope
    assert abs(end.slope) <= -CURVATURE * start.slope


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(1e-3, 10.0))
def test_both_conditions_hold_on_polynomials(numbers: list[float], first: float) -> None:
    # Of even degree with a positive first number: bounded from below; downhill at 0.
    polynomial = np.polynomial.Polynomial([0.0, -0.1 - abs(numbers[0]), *numbers[1:3], 0.1 + abs(numbers[3])])
    slope = polynomial.deriv()
    at = on(lambda a: (float(polynomial(a)), float(slope(a))))
    length = strong_wolfe(at, at(0.0), first)
    assert length is not None
    end, start = at(length), at(0.0)
    assert end.loss <= SUFFICIENT * length * start.slope
    assert abs(end.slope) <= -CURVATURE * start.slope


def test_where_nothing_helps_there_is_no_length() -> None:
    assert strong_wolfe(lambda a: Point(a, a, -1.0), Point(0.0, 0.0, -1.0)) is None
    assert strong_wolfe(lambda a: Point(a, -a, -1.0), Point(0.0, 0.0, -1.0)) is None
