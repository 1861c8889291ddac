"""Formulas on arrays: what has no function of its own here is computed from its formula, operation by operation."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.expressions import Term
from tinynet_kernels.steps import steps_of, walk

Function = TypeVar("Function")


class ByHand(dict[str, Function]):
    """Functions by kind, written by hand; any other kind gets what ``of_formula`` makes of its formula."""

    def __init__(self, written: dict[str, Function], of_formula: Callable[[str], Function]) -> None:
        super().__init__(written)
        self._of_formula = lru_cache(maxsize=256)(of_formula)

    def __missing__(self, kind: str) -> Function:
        return self._of_formula(kind)


def evaluate(terms: Sequence[Term], symbols: dict[str, Any], xp: Any = np) -> list[Any]:
    """Return the values of formulas, given those of their symbols: arrays of one shape, or numbers.

    Arrays are those of ``xp``, on which NumPy's functions of numbers work whatever it is.
    """
    return prepared(*terms)(symbols, xp)


def prepared(*terms: Term) -> Callable[..., list[Any]]:
    """Return ``evaluate`` of some formulas, which are taken apart once: ``f(symbols, xp)``."""
    steps, results = steps_of(*terms)

    def evaluated(symbols: dict[str, Any], xp: Any = np) -> list[Any]:
        def apply(operation: str, *operands: Any) -> Any:
            return (xp.where if operation == "select" else _OPERATIONS[operation])(*operands)

        values: list[Any] = walk(steps, results, symbols, float, apply)
        return values

    return evaluated


def _erfc(x: FloatArray) -> FloatArray:
    from scipy.special import erfc  # only few formulas need SciPy

    result: FloatArray = erfc(x)
    return result


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "negative": np.negative,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    "==": np.equal,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1_nonpositive": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log1p_fraction": np.log1p,
    "tanh": np.tanh,
    "erfc": _erfc,
}
