"""The products of a block of models: each of its own input with its own weight.

They are functions of their own, compiled once for each number of lanes and of rows in a tile, and shared by all
networks. A weight that is loaded is used for every row of the tile, and ``TILE`` sums are kept in registers for each.
"""

from functools import cache
from types import ModuleType

from tinynet_kernels.cpu.fused.build import module_of

TILE = 4
"""Sums of a product that are computed at the same time, for each row."""

_HEAD = '''"""Written by tinynet; safe to delete."""

from tinynet_kernels.cpu import compiling
from tinynet_kernels.cpu.fused import lanes
'''

_SPREAD = '''

@compiling.compiled
def spread(x, row, at, n, inputs):
    """Bring one sample for all models into scratch."""
    real = inputs.dtype.type
    for k in range(n):
        lanes.store(lanes.full(inputs, real(x[row, k]), {n}), inputs, (at + k) * {n}, 1, {n})


@compiling.compiled
def gather(x, rows, at, n, inputs):
    """Bring a sample for each model into scratch."""
    for k in range(n):
        lanes.store(lanes.gather(inputs, x, rows, x.shape[1], k, {n}), inputs, (at + k) * {n}, 1, {n})
'''


@cache
def of(n_lanes: int, rows: int) -> ModuleType:
    """Return the module with the functions for so many lanes, and so many rows in a tile.

    ``product(x, p, w, b, n_in, n_out, z)``
        ``z = x @ w + b``; ``w`` and ``b`` are where weight and bias lie in ``p``; there is no bias if ``b < 0``.
    ``product_transposed(dz, p, w, n_in, n_out, dx)``
        ``dx = dz @ w.T``.
    ``outer(x, dz, w, b, n_in, n_out, sign, fresh, target)``
        ``sign`` times the gradients of weight and bias, added to what is in ``target``, or stored there if ``fresh``.
    """
    lines = [_product(n_lanes, rows), _product_transposed(n_lanes, rows), _outer(n_lanes, rows)]
    return module_of(_HEAD + _SPREAD.format(n=n_lanes) + "".join(lines))


def _load(array: str, index: str, n_lanes: int) -> str:
    return f"lanes.load({array}, {array}, ({index}) * {n_lanes}, 1, {n_lanes}, {n_lanes})"


def _store(value: str, array: str, index: str, n_lanes: int) -> str:
    return f"lanes.store({value}, {array}, ({index}) * {n_lanes}, 1, {n_lanes})"


def _function(signature: str, size: str, index: str, tile: list[list[str]]) -> str:
    """Return a function that runs ``tile`` over ``index``: some at a time, then the rest one by one."""
    lines = [f"\n\n@compiling.compiled\ndef {signature}:"]
    loops = (("0", f"{size} - {TILE - 1}", str(TILE)), (f"{size} // {TILE} * {TILE}", size, "1"))
    for (start, stop, step), body in zip(loops, tile, strict=True):
        lines.append(f"    for {index} in range({start}, {stop}, {step}):")
        lines += [f"        {line}" for line in body]
    return "\n".join(lines) + "\n"


def _product(n: int, rows: int) -> str:
    def tile(count: int) -> list[str]:
        lines = []
        for t in range(count):
            bias = _load("p", f"b + j + {t}", n)
            lines.append(f"s0_{t} = {bias} if b >= 0 else lanes.zeros(p, {n})")
            lines += [f"s{r}_{t} = s0_{t}" for r in range(1, rows)]
        lines.append("for k in range(n_in):")
        lines += [f"    a{r} = {_load('x', f'{r} * n_in + k', n)}" for r in range(rows)]
        for t in range(count):
            lines.append(f"    q = {_load('p', f'w + k * n_out + j + {t}', n)}")
            lines += [f"    s{r}_{t} = s{r}_{t} + a{r} * q" for r in range(rows)]
        return lines + [
            _store(f"s{r}_{t}", "z", f"{r} * n_out + j + {t}", n) for r in range(rows) for t in range(count)
        ]

    return _function("product(x, p, w, b, n_in, n_out, z)", "n_out", "j", [tile(TILE), tile(1)])


def _product_transposed(n: int, rows: int) -> str:
    def tile(count: int) -> list[str]:
        lines = [f"s{r}_{t} = lanes.zeros(p, {n})" for r in range(rows) for t in range(count)]
        lines.append("for j in range(n_out):")
        lines += [f"    a{r} = {_load('dz', f'{r} * n_out + j', n)}" for r in range(rows)]
        for t in range(count):
            lines.append(f"    q = {_load('p', f'w + (k + {t}) * n_out + j', n)}")
            lines += [f"    s{r}_{t} = s{r}_{t} + a{r} * q" for r in range(rows)]
        return lines + [
            _store(f"s{r}_{t}", "dx", f"{r} * n_in + k + {t}", n) for r in range(rows) for t in range(count)
        ]

    return _function("product_transposed(dz, p, w, n_in, n_out, dx)", "n_in", "k", [tile(TILE), tile(1)])


def _outer(n: int, rows: int) -> str:
    def tile(count: int) -> list[str]:
        a = [f"a{r}_{t} = sign * {_load('x', f'{r} * n_in + k + {t}', n)}" for r in range(rows) for t in range(count)]
        lines = [*a, "for j in range(n_out):"]
        lines += [f"    d{r} = {_load('dz', f'{r} * n_out + j', n)}" for r in range(rows)]
        for t in range(count):
            at = f"w + (k + {t}) * n_out + j"
            lines.append(f"    s = lanes.zeros(dz, {n}) if fresh else {_load('target', at, n)}")
            lines += [f"    s = s + a{r}_{t} * d{r}" for r in range(rows)]
            lines.append(f"    {_store('s', 'target', at, n)}")
        return lines

    text = _function("outer(x, dz, w, b, n_in, n_out, sign, fresh, target)", "n_in", "k", [tile(TILE), tile(1)])
    total = " + ".join(_load("dz", f"{r} * n_out + j", n) for r in range(rows))
    bias = [
        "    if b >= 0:",
        "        for j in range(n_out):",
        f"            s = lanes.zeros(dz, {n}) if fresh else {_load('target', 'b + j', n)}",
        f"            {_store(f's + sign * ({total})', 'target', 'b + j', n)}",
    ]
    return text + "\n".join(bias) + "\n"
