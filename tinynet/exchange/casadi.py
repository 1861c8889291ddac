"""CasADi: a network as a function of CasADi's own operators, which optimisers and controllers differentiate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinynet.backends.blocks import names_of, values_at
from tinynet.backends.formulas import ERFC_CENTRE, FORMATS, Term, activation, follow, is_elementwise
from tinynet.base.errors import requires
from tinynet.exchange.parts import Parts
from tinynet.exchange.steps import Step, prediction_steps
from tinynet.program import ActivationOp, BlocksOp, EmbeddingOp, LayerNormOp, LinearOp, Program, ResidualOp

if TYPE_CHECKING:
    from casadi import Function


def export_casadi(program: Program, parts: Parts, name: str) -> Function:
    """Return a network as a function of CasADi; see ``Sequential.to_casadi``."""
    try:
        import casadi
    except ImportError as error:
        raise requires("casadi", "to_casadi", "pip install casadi") from error
    x = y = casadi.MX.sym("x", program.n_in)
    for step in prediction_steps(program, parts, "CasADi"):
        y = _add_step(casadi, step, y)
    return casadi.Function(name, [x], [y], ["x"], ["y"])


def _add_step(ca: Any, step: Step, x: Any) -> Any:
    op, arrays = step.op, {name: ca.DM(array.astype("float64")) for name, array in step.arrays.items()}
    if isinstance(op, LinearOp):
        y = ca.mtimes(arrays["weight"].T, x)
        return y + arrays["bias"] if op.bias else y
    if isinstance(op, LayerNormOp):
        away = x - ca.sum1(x) / op.n
        y = away / ca.sqrt(ca.sumsqr(away) / op.n + op.eps)
        return y * arrays["weight"] + arrays["bias"] if op.affine else y
    if isinstance(op, EmbeddingOp):
        tables = list(arrays.values())
        return ca.vertcat(*(_piece(ca, x[source], tables[i] if i >= 0 else None) for source, _, i in op.pieces))
    if isinstance(op, ResidualOp):
        y = x
        for part in step.within:
            y = _add_step(ca, part, y)
        return y + (ca.mtimes(arrays["weight"].T, x) if op.projects else x)
    if isinstance(op, BlocksOp):
        width, names = op.n // op.blocks, names_of(op.blocks)
        symbols = {name: x[i * width : (i + 1) * width] for i, name in enumerate(names)}
        return ca.vertcat(*_written(ca, values_at(op), symbols))
    if not isinstance(op, ActivationOp):
        return (x - arrays["mean"]) / arrays["scale"]
    if not is_elementwise(op.kind):
        e = ca.exp(x - ca.mmax(x))
        return e / ca.sum1(e)
    value, _ = activation(op.kind).terms
    (result,) = _written(ca, [value], {"z": x, "alpha": op.alpha})
    return result


def _piece(ca: Any, x: Any, table: Any) -> Any:
    """Return columns as they are, or the row of a table for a level, as a product with 0 and one 1."""
    if table is None:
        return x
    n = table.shape[0]
    level = ca.fmin(ca.fmax(ca.floor(x + 0.5), 0), n - 1)
    return ca.mtimes(table.T, ca.DM(range(n)) == level)


def _written(ca: Any, terms: Sequence[Term], symbols: dict[str, Any]) -> list[Any]:
    """Return formulas in CasADi."""
    return follow(terms, symbols, float, lambda name, *operands: OPERATIONS[name](ca, *operands))


def _erfc(ca: Any, x: Any) -> Any:
    """By the polynomial of the generated code: ``1 - erf(x)`` would have no digits in the tail."""
    form = FORMATS["double"]
    factor, shift = form.erfc_unit
    # Beyond the end it is zero; without the bound, infinity would become infinity / infinity. The slope of fabs at 0
    # is 0, that of neither branch.
    a = ca.fmin(ca.if_else(x < 0, -x, x), form.erfc_end)
    t = (a - ERFC_CENTRE) / (a + ERFC_CENTRE) * factor + shift
    *others, value = form.erfc
    for coefficient in reversed(others):
        value = t * value + coefficient
    tail = value / (2 * a + 1) * ca.exp(-a * a)
    return ca.if_else(x < 0, 2 - tail, tail)


def _function(name: str) -> Callable[..., Any]:
    return lambda ca, *operands: getattr(ca, name)(*operands)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": lambda ca, a, b: a + b,
    "-": lambda ca, a, b: a - b,
    "*": lambda ca, a, b: a * b,
    "/": lambda ca, a, b: a / b,
    "negative": lambda ca, a: -a,
    "<": lambda ca, a, b: a < b,
    "<=": lambda ca, a, b: a <= b,
    ">": lambda ca, a, b: a > b,
    "==": lambda ca, a, b: a == b,
    "select": _function("if_else"),
    "abs": _function("fabs"),
    "sqrt": _function("sqrt"),
    "exp": _function("exp"),
    "expm1_nonpositive": _function("expm1"),
    "log": _function("log"),
    "log1p": _function("log1p"),
    "log1p_fraction": _function("log1p"),
    "tanh": _function("tanh"),
    "erfc": _erfc,
}
"""Each operation of a formula in CasADi: ``f(casadi, *operands)``."""
