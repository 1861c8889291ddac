"""C source: a network as one header that needs nothing but ``<math.h>``, for a microcontroller or a C program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.formulas import activation, is_elementwise, is_text, uses_alpha
from tinynet.base.frozen import dataclass
from tinynet.base.version import __version__
from tinynet.exchange import c_jacobian
from tinynet.exchange.atomic import Path_, atomic_open
from tinynet.exchange.parts import Parts
from tinynet.exchange.steps import Step, prediction_steps
from tinynet.program import ActivationOp, BlocksOp, EmbeddingOp, LayerNormOp, LinearOp, NormalizeOp, Program, ResidualOp

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LINE = 116
"""Columns of the lines of weights."""


@dataclass(frozen=True)
class Real:
    """A floating-point type of C: its name, and what its functions and constants end in."""

    dtype: str
    name: str
    suffix: str

    def literal(self, value: Any) -> str:
        """Return the shortest constant that reads back as ``value``.

        Examples
        --------
        >>> REALS["float32"].literal(0.1), REALS["float64"].literal(1e30)
        ('0.1f', '1e+30')
        """
        return str(np.dtype(self.dtype).type(value)) + self.suffix


REALS = {"float32": Real("float32", "float", "f"), "float64": Real("float64", "double", "")}


def export_c(
    program: Program, parts: Parts, path: Path_ | None, name: str, dtype: str, *, jacobian: bool = False
) -> str:
    """Return a network as C source, and write it to ``path`` if there is one; see ``Sequential.to_c``."""
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"to_c expects a name that C identifiers can start with: a letter, then letters, digits and underscores; "
            f"got {name!r}."
        )
    real = REALS[dtype]
    steps = prediction_steps(program, parts, "C source", derivatives=jacobian)
    text = "\n".join(_header(program, name, real, steps, jacobian))
    if path is not None:
        with atomic_open(path) as file:
            file.write(text.encode("ascii"))
    return text


def _header(program: Program, name: str, real: Real, steps: list[Step], jacobian: bool) -> Iterator[str]:
    n_in, n_out, upper = program.n_in, program.n_out, name.upper()
    scratch = _scratch_bytes(steps, real)
    if jacobian:
        scratch = max(scratch, c_jacobian.jacobian_bytes(steps, real, n_in))
    stack = f"{scratch:,} bytes"
    yield f"/* {name}: a network of {n_in} inputs and {n_out} outputs, written by tinynet {__version__}."
    yield " *"
    yield from (f" *   {step.label}" for step in steps)
    yield " *"
    yield f" * {name}_predict(x, y) computes the outputs y[{n_out}] of one sample x[{n_in}]; the two must not overlap."
    if jacobian:
        yield f" * {name}_jacobian(x, y, j) computes their derivatives, too: j[k * {n_in} + i] is that of y[k] by x[i]."
    yield f" * C99 or C++. It allocates nothing, keeps no state, and takes at most {stack} of stack."
    yield " */"
    yield f"#ifndef {upper}_H"
    yield f"#define {upper}_H"
    yield ""
    yield "#include <math.h>"
    yield ""
    yield f"#define {upper}_N_IN {n_in}"
    yield f"#define {upper}_N_OUT {n_out}"
    yield ""
    every = list(_with_inner(steps))
    for step in every:
        for array_name, array in step.arrays.items():
            # Columns are standardised in double, as the library does it.
            own = REALS["float64"] if isinstance(step.op, NormalizeOp) else real
            yield from _array(f"{name}_{array_name}{step.position}", array, own)
    called = _functions(name, every)
    yield from (_helper(kind, name, real, function) for kind, function in called.items())
    for step in reversed(every):
        if isinstance(step.op, ResidualOp):
            yield from _residual(name, real, step, called)
    yield from _predict(f"{name}_predict", name, real, steps, n_in, n_out, called)
    if jacobian:
        yield ""
        yield from c_jacobian.jacobian(name, real, steps, n_in, n_out, called)
    yield ""
    yield "#endif"
    yield ""


def _helper(kind: str, name: str, real: Real, called: str) -> str:
    """Write the C function of an activation, or of the product, stable as the kernels are; NaN in gives NaN out."""
    if kind in HELPERS:
        text = re.sub(r"\bexp\(", f"exp{real.suffix}(", HELPERS[kind].replace("REAL", real.name))
        return text.replace("NAME", name)
    value, _ = activation(kind).terms
    text, _ = c_jacobian.function_of(called, real, value, ("z", "alpha"))
    return text


def _array(name: str, array: NDArray[Any], real: Real) -> Iterator[str]:
    """Write an array in row-major order."""
    with np.errstate(over="ignore"):
        values = array.ravel().astype(real.dtype)
    if not np.isfinite(values).all():
        raise ValueError(f"to_c expects weights that fit into {real.name}; {name} has one that does not. Use float64.")
    yield f"static const {real.name} {name}[{len(values)}] = {{"
    line = "   "
    for value in values:
        entry = f" {real.literal(value)},"
        if len(line) + len(entry) > LINE:
            yield line
            line = "   "
        line += entry
    yield line
    yield "};"
    yield ""


def _with_inner(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps, and after each those within it."""
    for step in steps:
        yield step
        yield from _with_inner(step.within)


def _residual(name: str, real: Real, step: Step, called: dict[str, str]) -> Iterator[str]:
    """Write the function of layers with a way around them."""
    op, function, within = step.op, f"{name}_residual{step.position}", list(step.within)
    yield from _predict(f"{function}_through", name, real, within, op.n_in, op.n_out, called)
    beside = f"{name}_linear({op.n_in}, {op.n_out}, {name}_weight{step.position}, 0, x, beside);"
    yield f"static inline void {function}(const {real.name} *x, {real.name} *y)"
    yield "{"
    yield from [f"    {real.name} beside[{op.n_out}];"] if step.arrays else []
    yield f"    {function}_through(x, y);"
    yield from [f"    {beside}"] if step.arrays else []
    yield f"    for (int i = 0; i < {op.n_out}; i++) y[i] += {'beside' if step.arrays else 'x'}[i];"
    yield "}"
    yield ""


def _predict(
    function: str, name: str, real: Real, steps: list[Step], n_in: int, n_out: int, called: dict[str, str]
) -> Iterator[str]:
    """Write the function: one statement a layer, in two buffers that take turns."""
    statements, source, used = [], "x", set()
    for i, step in enumerate(steps):
        if i == len(steps) - 1:
            target = "y"
        elif isinstance(step.op, MOVING) or source == "x":
            target = "b" if source == "a" else "a"
        else:
            target = source
        used |= {target} & {"a", "b"}
        statements.append((_statement(name, real, step, source, target, called), step.label))
        source = target
    yield f"static inline void {function}(const {real.name} x[{n_in}], {real.name} y[{n_out}])"
    yield "{"
    if used:
        width = max(step.op.n_out for step in steps[:-1])
        yield f"    {real.name} {', '.join(f'{buffer}[{width}]' for buffer in sorted(used))};"
    for statement, label in statements:
        yield f"    {statement} /* {label} */"
    if not steps:
        yield f"    for (int i = 0; i < {n_out}; i++) y[i] = x[i];"
    yield "}"


def _statement(name: str, real: Real, step: Step, source: str, target: str, called: dict[str, str]) -> str:
    op, position = step.op, step.position
    each = f"for (int i = 0; i < {op.n_out}; i++) {target}[i] = "
    if isinstance(op, LinearOp):
        bias = f"{name}_bias{position}" if op.bias else "0"
        return f"{name}_linear({op.n_in}, {op.n_out}, {name}_weight{position}, {bias}, {source}, {target});"
    if isinstance(op, ResidualOp):
        return f"{name}_residual{position}({source}, {target});"
    if isinstance(op, LayerNormOp):
        arrays = f"{name}_weight{position}, {name}_bias{position}" if op.affine else "0, 0"
        return f"{name}_layer_norm({op.n}, {REALS['float64'].literal(op.eps)}, {arrays}, {source}, {target});"
    if isinstance(op, EmbeddingOp):
        return "\n    ".join(_embedding(name, real, op, step, source, target))
    if isinstance(op, BlocksOp):
        return "\n    ".join(c_jacobian.blocks(op, real, source, target))
    if not isinstance(op, ActivationOp):
        return f"{each}({real.name})(((double){source}[i] - {name}_mean{position}[i]) / {name}_scale{position}[i]);"
    if not is_elementwise(op.kind):
        return f"{called[op.kind]}({op.n_out}, {source}, {target});"
    alpha = f", {real.literal(op.alpha)}" if uses_alpha(op.kind) else ""
    return f"{each}{called[op.kind]}({source}[i]{alpha});"


def _embedding(name: str, real: Real, op: EmbeddingOp, step: Step, source: str, target: str) -> Iterator[str]:
    """Write what picks the rows of tables, and passes the other columns; nothing outside of a table is read."""
    arrays = list(step.arrays)
    for columns, place, i in op.pieces:
        size = place.stop - place.start
        if i < 0:
            yield f"for (int i = 0; i < {size}; i++) {target}[{place.start} + i] = {source}[{columns.start} + i];"
            continue
        x, last, table = f"{source}[{columns.start}]", op.levels[i] - 1, f"{name}_{arrays[i]}{step.position}"
        level = f"{x} > 0 ? ({x} < {last} ? (int)({x} + {real.literal(0.5)}) : {last}) : 0"
        row = f"const {real.name} *row = {table} + {size} * ({level});"
        yield f"{{ {row} for (int i = 0; i < {size}; i++) {target}[{place.start} + i] = row[i]; }}"


def _functions(name: str, steps: list[Step]) -> dict[str, str]:
    """Return the functions that are needed, by kind, and what each is called."""
    found: dict[str, str] = {}
    for step in steps:
        if isinstance(step.op, LinearOp) or (isinstance(step.op, ResidualOp) and step.op.projects):
            found["linear"] = f"{name}_linear"
        elif isinstance(step.op, LayerNormOp):
            found["layer_norm"] = f"{name}_layer_norm"
        elif isinstance(step.op, ActivationOp):
            short = f"formula{step.position}" if is_text(step.op.kind) else step.op.kind
            found.setdefault(step.op.kind, f"{name}_{short}")
    return found


def _scratch_bytes(steps: list[Step], real: Real) -> int:
    """Return an upper bound of what the two buffers take."""
    own = 2 * max((step.op.n_out for step in steps[:-1]), default=0)
    beside = (step.op.n_out * bool(step.arrays) for step in steps if isinstance(step.op, ResidualOp))
    within = max((_scratch_bytes(list(step.within), real) for step in steps), default=0)
    return (own + max(beside, default=0)) * np.dtype(real.dtype).itemsize + within


MOVING = (LinearOp, LayerNormOp, EmbeddingOp, ResidualOp)
"""The ops that read and write two places."""


HELPERS = {
    "layer_norm": """\
static inline void NAME_layer_norm(int n, double eps, const REAL *w, const REAL *b, const REAL *x, REAL *y)
{
    double mean = 0, square = 0;
    for (int i = 0; i < n; i++) mean += (double)x[i];
    mean /= n;
    for (int i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
    for (int i = 0; i < n; i++) {
        y[i] = (REAL)(((double)x[i] - mean) / sqrt(square / n + eps));
        if (w) y[i] = y[i] * w[i] + b[i];
    }
}
""",
    "linear": """\
static inline void NAME_linear(int n_in, int n_out, const REAL *w, const REAL *b, const REAL *x, REAL *y)
{
    for (int j = 0; j < n_out; j++) y[j] = b ? b[j] : 0;
    for (int i = 0; i < n_in; i++)
        for (int j = 0; j < n_out; j++) y[j] += x[i] * w[i * n_out + j];
}
""",
    "softmax": """\
static inline void NAME_softmax(int n, const REAL *z, REAL *y)
{
    REAL largest = z[0], total = 0;
    for (int i = 1; i < n; i++) largest = z[i] > largest ? z[i] : largest;
    for (int i = 0; i < n; i++) total += y[i] = exp(z[i] - largest);
    for (int i = 0; i < n; i++) y[i] /= total;
}
""",
}
"""The C functions of what is more than a formula of one number."""
