"""The Jacobian of a network in C: derivatives by each input go forward beside the values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynet.backends.blocks import names_of, slopes_at, values_at
from tinynet.backends.formulas import Language, Term, activation, is_elementwise, statements, uses_alpha
from tinynet.exchange.steps import Step
from tinynet.program import ActivationOp, BlocksOp, LinearOp

if TYPE_CHECKING:
    from tinynet.exchange.c import Real

SYMBOLS = ("z", "y", "alpha")


def jacobian_bytes(steps: list[Step], real: Real, n_in: int) -> int:
    """Return an upper bound of the stack that the function takes."""
    return (3 + 2 * n_in) * _width(steps, n_in) * np.dtype(real.dtype).itemsize


def _width(steps: list[Step], n_in: int) -> int:
    return max([n_in, *(step.op.n_out for step in steps)])


def jacobian(name: str, real: Real, steps: list[Step], n_in: int, n_out: int, called: dict[str, str]) -> Iterator[str]:
    """Write ``NAME_jacobian(x, y, j)``, and the functions that it needs beside those of ``NAME_predict``."""
    slopes: dict[str, tuple[str, list[str]]] = {}
    for step in steps:
        op = step.op
        if isinstance(op, ActivationOp) and is_elementwise(op.kind) and op.kind not in slopes:
            function = f"{called[op.kind]}_slope"
            text, slopes[op.kind] = _slope(op.kind, function, real)
            yield text
    width = _width(steps, n_in)
    buffers = ["a[WIDTH]", *(["b[WIDTH]", "t[WIDTH * N_IN]"] if "linear" in called else []), "s[WIDTH * N_IN]"]
    buffers += ["d[WIDTH]"] if slopes else []
    declared = ", ".join(buffers).replace("WIDTH", str(width)).replace("N_IN", str(n_in))
    arguments = f"const {real.name} x[{n_in}], {real.name} y[{n_out}], {real.name} j[{n_out * n_in}]"
    yield f"static inline void {name}_jacobian({arguments})"
    yield "{"
    yield f"    {real.name} {declared};"
    yield f"    for (int i = 0; i < {n_in}; i++) a[i] = x[i];"
    yield f"    for (int k = 0; k < {n_in}; k++)"
    yield f"        for (int i = 0; i < {n_in}; i++) s[k * {width} + i] = i == k;"
    value, slope = "a", "s"
    for step in steps:
        yield f"    /* {step.label} */"
        if isinstance(step.op, LinearOp):
            (value, below), (slope, under) = ("ba", "ts") if value == "a" else ("ab", "st")
            yield from _linear(name, step, n_in, width, (below, value), (under, slope))
        else:
            yield from _others(name, real, step, n_in, width, value, slope, called, slopes)
    yield f"    for (int i = 0; i < {n_out}; i++) y[i] = {value}[i];"
    yield f"    for (int i = 0; i < {n_out}; i++)"
    yield f"        for (int k = 0; k < {n_in}; k++) j[i * {n_in} + k] = {slope}[k * {width} + i];"
    yield "}"


def _slope(kind: str, function: str, real: Real) -> tuple[str, tuple[str, list[str]]]:
    """Write the derivative of an activation; return it, with its name and the symbols that it reads."""
    _, derivative = activation(kind).terms
    text, read = function_of(function, real, derivative, SYMBOLS)
    return text, (function, read)


def function_of(name: str, real: Real, term: Term, symbols: Sequence[str]) -> tuple[str, list[str]]:
    """Write a formula as a function of those of its symbols that it reads; return it, with these."""
    lines, (result,) = statements(language_of(real), [term], {symbol: symbol for symbol in symbols})
    body = "\n".join(f"    {line}" for line in [*lines, f"return {result};"])
    read = [symbol for symbol in symbols if re.search(rf"\b{symbol}\b", body)]
    arguments = ", ".join(f"{real.name} {symbol}" for symbol in read) or "void"
    return f"static inline {real.name} {name}({arguments})\n{{\n{body}\n}}\n", read


def _linear(
    name: str, step: Step, n_in: int, width: int, values: tuple[str, str], slopes: tuple[str, str]
) -> Iterator[str]:
    op, position = step.op, step.position
    assert isinstance(op, LinearOp)
    sizes, weight = f"{op.n_in}, {op.n_out}", f"{name}_weight{position}"
    bias = f"{name}_bias{position}" if op.bias else "0"
    places = ", ".join(f"{slope} + k * {width}" for slope in slopes)
    yield f"    {name}_linear({sizes}, {weight}, {bias}, {', '.join(values)});"
    yield f"    for (int k = 0; k < {n_in}; k++) {name}_linear({sizes}, {weight}, 0, {places});"


def blocks(op: BlocksOp, real: Real, source: str, target: str, slopes: tuple[str, int, int] | None = None) -> list[str]:
    """Write several outputs for each target; with ``slopes``, an array, its width and inputs, derivatives, too."""
    names, width = names_of(op.blocks), op.n // op.blocks
    places = ["j", *(f"{i * width} + j" for i in range(1, op.blocks))]
    terms = [*values_at(op), *(slope for row in slopes_at(op) for slope in row)] if slopes else [*values_at(op)]
    lines, results = statements(language_of(real), terms, {name: name for name in names})
    body = [f"const {real.name} {name} = {source}[{place}];" for name, place in zip(names, places, strict=True)]
    body += lines
    if slopes:
        array, row, n_in = slopes
        body.append(f"for (int k = 0; k < {n_in}; k++) {{")
        body.append(f"    {real.name} *row = {array} + k * {row};")
        body += [f"    const {real.name} s{i} = row[{place}];" for i, place in enumerate(places)]
        for i, place in enumerate(places):
            parts = results[op.blocks * (i + 1) : op.blocks * (i + 2)]
            body.append(f"    row[{place}] = {' + '.join(f'({part}) * s{k}' for k, part in enumerate(parts))};")
        body.append("}")
    body += [f"{target}[{place}] = {value};" for place, value in zip(places, results, strict=False)]
    return [f"for (int j = 0; j < {width}; j++) {{", *(f"    {line}" for line in body), "}"]


def language_of(real: Real) -> Language:
    """Return how C writes numbers of a type."""
    return Language(real.name, real.literal, lambda called: called + real.suffix)


def _others(
    name: str,
    real: Real,
    step: Step,
    n_in: int,
    width: int,
    value: str,
    slope: str,
    called: dict[str, str],
    slopes: dict[str, tuple[str, list[str]]],
) -> Iterator[str]:
    """Write a layer that changes values and slopes in place."""
    op, position = step.op, step.position
    columns, rows = f"for (int k = 0; k < {n_in}; k++)", f"for (int i = 0; i < {op.n_out}; i++)"
    here = f"{slope}[k * {width} + i]"
    if isinstance(op, BlocksOp):
        yield from (f"    {line}" for line in blocks(op, real, value, value, (slope, width, n_in)))
    elif not isinstance(op, ActivationOp):
        mean, scale = f"{name}_mean{position}[i]", f"{name}_scale{position}[i]"
        yield f"    {rows} {value}[i] = ({real.name})(((double){value}[i] - {mean}) / {scale});"
        yield f"    {columns}"
        yield f"        {rows} {here} = ({real.name})((double){here} / {scale});"
    elif not is_elementwise(op.kind):
        yield f"    {called[op.kind]}({op.n_out}, {value}, {value});"
        yield f"    {columns} {{"
        yield f"        {real.name} dot = 0;"
        yield f"        {rows} dot += {value}[i] * {here};"
        yield f"        {rows} {here} = {value}[i] * ({here} - dot);"
        yield "    }"
    else:
        function, read = slopes[op.kind]
        alpha = real.literal(op.alpha)
        known = {"z": "z", "y": f"{value}[i]", "alpha": alpha}
        keeps = f"const {real.name} z = {value}[i];" if "z" in read else ""
        argument = "z" if keeps else f"{value}[i]"
        made = f"{value}[i] = {called[op.kind]}({argument}{_alpha_of(op, real)});"
        yield f"    {rows} {{"
        yield f"        {' '.join(filter(None, [keeps, made]))}"
        yield f"        d[i] = {function}({', '.join(known[symbol] for symbol in read)});"
        yield "    }"
        yield f"    {columns}"
        yield f"        {rows} {here} *= d[i];"


def _alpha_of(op: ActivationOp, real: Real) -> str:
    return f", {real.literal(op.alpha)}" if uses_alpha(op.kind) else ""
