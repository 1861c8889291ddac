"""Products, losses and moves on strips: blocks of samples in which those of one feature lie side by side.

A strip is a (features, samples) array. Layers of a few neurons leave most of a SIMD register idle when a row is a
sample; here every instruction takes as many samples as the register holds, whatever the width of a layer. The number of
samples in a strip is a multiple of ``2 * lanes.native(dtype)``.

Four neurons at a time, each for two registers of samples: eight sums that do not wait for one another, and each input
that is loaded serves four of them.
"""

from functools import cache
from typing import Any

from tinynet_kernels._typing import AnyArray, FloatArray, IndexArray
from tinynet_kernels.cpu import elementary
from tinynet_kernels.cpu.compiling import Kernel, compiled
from tinynet_kernels.cpu.fused import lanes
from tinynet_kernels.cpu.generic import select
from tinynet_kernels.cpu.losses import SCALARS

# The number of lanes is part of the types that the instructions of ``lanes`` work with, so the kernels below are made
# for one, by a function that they close over.


@cache
def product(count: int) -> Kernel:
    """Make ``y = w.T @ x + b`` for strips ``x`` (n_in, n) and ``y`` (n_out, n)."""

    def forward(w: FloatArray, b: FloatArray | None, x: FloatArray, y: FloatArray) -> None:
        n_out, n = y.shape
        x_flat, y_flat = x.reshape(-1), y.reshape(-1)
        zero: Any = lanes.zeros(w, count)
        for first in range(0, n, 2 * count):
            for j in range(0, n_out - n_out % 4, 4):
                if b is None:
                    a0 = a1 = a2 = a3 = zero
                else:
                    a0, a1 = lanes.spread(b[j], zero), lanes.spread(b[j + 1], zero)
                    a2, a3 = lanes.spread(b[j + 2], zero), lanes.spread(b[j + 3], zero)
                c0, c1, c2, c3 = a0, a1, a2, a3
                for k in range(x.shape[0]):
                    left = lanes.load(w, x_flat, k * n + first, 1, count, count)
                    right = lanes.load(w, x_flat, k * n + first + count, 1, count, count)
                    a0, c0 = lanes.multiply_add(left, w[k, j], a0), lanes.multiply_add(right, w[k, j], c0)
                    a1, c1 = lanes.multiply_add(left, w[k, j + 1], a1), lanes.multiply_add(right, w[k, j + 1], c1)
                    a2, c2 = lanes.multiply_add(left, w[k, j + 2], a2), lanes.multiply_add(right, w[k, j + 2], c2)
                    a3, c3 = lanes.multiply_add(left, w[k, j + 3], a3), lanes.multiply_add(right, w[k, j + 3], c3)
                at = j * n + first
                lanes.store(a0, y_flat, at, 1, count)
                lanes.store(c0, y_flat, at + count, 1, count)
                lanes.store(a1, y_flat, at + n, 1, count)
                lanes.store(c1, y_flat, at + n + count, 1, count)
                lanes.store(a2, y_flat, at + 2 * n, 1, count)
                lanes.store(c2, y_flat, at + 2 * n + count, 1, count)
                lanes.store(a3, y_flat, at + 3 * n, 1, count)
                lanes.store(c3, y_flat, at + 3 * n + count, 1, count)
            for j in range(n_out - n_out % 4, n_out):
                a0 = zero if b is None else lanes.spread(b[j], zero)
                c0 = a0
                for k in range(x.shape[0]):
                    left = lanes.load(w, x_flat, k * n + first, 1, count, count)
                    right = lanes.load(w, x_flat, k * n + first + count, 1, count, count)
                    a0, c0 = lanes.multiply_add(left, w[k, j], a0), lanes.multiply_add(right, w[k, j], c0)
                lanes.store(a0, y_flat, j * n + first, 1, count)
                lanes.store(c0, y_flat, j * n + first + count, 1, count)

    return compiled(forward)


@cache
def product_back(count: int) -> Kernel:
    """Make ``dx = w @ d`` for strips ``d`` (n_out, n) and ``dx`` (n_in, n)."""

    def backward(w: FloatArray, d: FloatArray, dx: FloatArray) -> None:
        n_in, n = dx.shape
        d_flat, out = d.reshape(-1), dx.reshape(-1)
        zero: Any = lanes.zeros(w, count)
        for first in range(0, n, 2 * count):
            for k in range(0, n_in - n_in % 4, 4):
                a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = zero
                for j in range(d.shape[0]):
                    left = lanes.load(w, d_flat, j * n + first, 1, count, count)
                    right = lanes.load(w, d_flat, j * n + first + count, 1, count, count)
                    a0, c0 = lanes.multiply_add(left, w[k, j], a0), lanes.multiply_add(right, w[k, j], c0)
                    a1, c1 = lanes.multiply_add(left, w[k + 1, j], a1), lanes.multiply_add(right, w[k + 1, j], c1)
                    a2, c2 = lanes.multiply_add(left, w[k + 2, j], a2), lanes.multiply_add(right, w[k + 2, j], c2)
                    a3, c3 = lanes.multiply_add(left, w[k + 3, j], a3), lanes.multiply_add(right, w[k + 3, j], c3)
                at = k * n + first
                lanes.store(a0, out, at, 1, count)
                lanes.store(c0, out, at + count, 1, count)
                lanes.store(a1, out, at + n, 1, count)
                lanes.store(c1, out, at + n + count, 1, count)
                lanes.store(a2, out, at + 2 * n, 1, count)
                lanes.store(c2, out, at + 2 * n + count, 1, count)
                lanes.store(a3, out, at + 3 * n, 1, count)
                lanes.store(c3, out, at + 3 * n + count, 1, count)
            for k in range(n_in - n_in % 4, n_in):
                a0 = c0 = zero
                for j in range(d.shape[0]):
                    left = lanes.load(w, d_flat, j * n + first, 1, count, count)
                    right = lanes.load(w, d_flat, j * n + first + count, 1, count, count)
                    a0, c0 = lanes.multiply_add(left, w[k, j], a0), lanes.multiply_add(right, w[k, j], c0)
                lanes.store(a0, out, k * n + first, 1, count)
                lanes.store(c0, out, k * n + first + count, 1, count)

    return compiled(backward)


@cache
def add_gradient(count: int) -> Kernel:
    """Make ``dw += x @ d.T`` for strips ``x`` (n_in, n) and ``d`` (n_out, n)."""

    def gradient(x: FloatArray, d: FloatArray, dw: FloatArray) -> None:
        n_in, n_out, n = x.shape[0], d.shape[0], x.shape[1]
        x_flat, d_flat = x.reshape(-1), d.reshape(-1)
        zero: Any = lanes.zeros(dw, count)
        for j in range(0, n_out - n_out % 4, 4):
            for k in range(0, n_in - n_in % 2, 2):
                a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = zero
                for first in range(0, n, count):
                    upper = lanes.load(dw, x_flat, k * n + first, 1, count, count)
                    lower = lanes.load(dw, x_flat, (k + 1) * n + first, 1, count, count)
                    d0 = lanes.load(dw, d_flat, j * n + first, 1, count, count)
                    a0, c0 = lanes.multiply_add(d0, upper, a0), lanes.multiply_add(d0, lower, c0)
                    d1 = lanes.load(dw, d_flat, (j + 1) * n + first, 1, count, count)
                    a1, c1 = lanes.multiply_add(d1, upper, a1), lanes.multiply_add(d1, lower, c1)
                    d2 = lanes.load(dw, d_flat, (j + 2) * n + first, 1, count, count)
                    a2, c2 = lanes.multiply_add(d2, upper, a2), lanes.multiply_add(d2, lower, c2)
                    d3 = lanes.load(dw, d_flat, (j + 3) * n + first, 1, count, count)
                    a3, c3 = lanes.multiply_add(d3, upper, a3), lanes.multiply_add(d3, lower, c3)
                sums = lanes.totals(a0, a1, a2, a3, c0, c1, c2, c3)
                dw[k, j] += lanes.lane(sums, 0)
                dw[k, j + 1] += lanes.lane(sums, 1)
                dw[k, j + 2] += lanes.lane(sums, 2)
                dw[k, j + 3] += lanes.lane(sums, 3)
                dw[k + 1, j] += lanes.lane(sums, 4)
                dw[k + 1, j + 1] += lanes.lane(sums, 5)
                dw[k + 1, j + 2] += lanes.lane(sums, 6)
                dw[k + 1, j + 3] += lanes.lane(sums, 7)
            if n_in % 2:
                for i in range(j, j + 4):
                    dw[n_in - 1, i] += _dot(dw, x_flat, (n_in - 1) * n, d_flat, i * n, n)
        for j in range(n_out - n_out % 4, n_out):
            for k in range(n_in):
                dw[k, j] += _dot(dw, x_flat, k * n, d_flat, j * n, n)

    _dot = _dot_product(count)
    return compiled(gradient)


@cache
def _dot_product(count: int) -> Kernel:
    def dot(like: FloatArray, a: FloatArray, a_first: int, b: FloatArray, b_first: int, n: int) -> float:
        """``sum_i a[a_first + i] * b[b_first + i]``."""
        even: Any = lanes.zeros(like, count)
        odd = even
        for i in range(0, n, 2 * count):
            a_even = lanes.load(like, a, a_first + i, 1, count, count)
            b_even = lanes.load(like, b, b_first + i, 1, count, count)
            even = lanes.multiply_add(a_even, b_even, even)
            a_odd = lanes.load(like, a, a_first + i + count, 1, count, count)
            b_odd = lanes.load(like, b, b_first + i + count, 1, count, count)
            odd = lanes.multiply_add(a_odd, b_odd, odd)
        result: float = lanes.total(even + odd)
        return result

    return compiled(dot)


@cache
def add_sums(count: int) -> Kernel:
    """Make ``db += d.sum(axis=1)`` for a strip ``d`` (n_out, n)."""

    def sums(d: FloatArray, db: FloatArray) -> None:
        d_flat, n = d.reshape(-1), d.shape[1]
        for j in range(d.shape[0]):
            total: Any = lanes.zeros(db, count)
            for first in range(0, n, count):
                total = total + lanes.load(db, d_flat, j * n + first, 1, count, count)
            db[j] += lanes.total(total)

    return compiled(sums)


@cache
def elementwise_loss(kind: str, count: int) -> Kernel:
    """Make a loss that is a sum over outputs.

    It takes strips of predictions and targets (n_out, n) and the factor of each sample (n,), and overwrites ``d``
    (n_out, n) with the gradient; it returns the sum of the losses, each times its factor.
    """
    scalar = SCALARS[kind]

    def loss(p: FloatArray, t: FloatArray, factor: FloatArray, d: FloatArray, parameter: float) -> float:
        p_flat, t_flat, d_flat, n = p.reshape(-1), t.reshape(-1), d.reshape(-1), p.shape[1]
        total, setting = 0.0, p.dtype.type(parameter)
        for first in range(0, n, count):
            own: Any = lanes.load(p, factor, first, 1, count, count)
            value: Any = lanes.zeros(p, count)
            for at in range(first, p.size, n):
                prediction = lanes.load(p, p_flat, at, 1, count, count)
                target = lanes.load(p, t_flat, at, 1, count, count)
                one, slope = scalar(prediction, target, setting)
                value = value + one
                lanes.store(slope * own, d_flat, at, 1, count)
            total += lanes.total(value * own)
        return total

    return compiled(loss)


@cache
def cross_entropy(index_target: bool, count: int) -> Kernel:
    """Make the cross-entropy of logits; as ``elementwise_loss``, but ``t`` may be (n,) class numbers."""

    def loss(p: FloatArray, t: AnyArray, factor: FloatArray, d: FloatArray, parameter: float) -> float:
        p_flat, t_flat, d_flat, n = p.reshape(-1), t.reshape(-1), d.reshape(-1), p.shape[1]
        real: Any = p.dtype.type
        half, one = real(0.5), real(1)
        total = 0.0
        for first in range(0, n, count):
            top = lanes.load(p, p_flat, first, 1, count, count)
            for at in range(first, p.size, n):
                logit = lanes.load(p, p_flat, at, 1, count, count)
                top = select(logit > top, logit, top)
            e_sum: Any = lanes.zeros(p, count)
            t_sum: Any = lanes.zeros(p, count)
            dot: Any = lanes.zeros(p, count)
            for at in range(first, p.size, n):
                shifted = lanes.load(p, p_flat, at, 1, count, count) - top
                e = elementary.exp(shifted)
                e_sum = e_sum + e
                lanes.store(e, d_flat, at, 1, count)
                if index_target:
                    label = lanes.load(p, t_flat, first, 1, count, count)
                    share = select(abs(label - real(at // n)) < half, one, lanes.zeros(p, count))
                else:
                    share = lanes.load(p, t_flat, at, 1, count, count)
                t_sum = t_sum + share
                dot = dot + share * shifted
            own: Any = lanes.load(p, factor, first, 1, count, count)
            inverse = t_sum / e_sum
            for at in range(first, p.size, n):
                if index_target:
                    label = lanes.load(p, t_flat, first, 1, count, count)
                    share = select(abs(label - real(at // n)) < half, one, lanes.zeros(p, count))
                else:
                    share = lanes.load(p, t_flat, at, 1, count, count)
                e = lanes.load(p, d_flat, at, 1, count, count)
                lanes.store((e * inverse - share) * own, d_flat, at, 1, count)
            total += lanes.total((lanes.log(e_sum) * t_sum - dot) * own)
        return total

    return compiled(loss)


@compiled
def take(source: FloatArray, index: IndexArray | None, first: int, rows: int, out: FloatArray) -> None:
    """Fill a strip ``out`` (n_columns, n) with ``rows`` rows of ``source`` from ``first`` on, then zeros.

    ``index`` says which rows those are; None: they lie one after the other.
    """
    for i in range(rows):
        row = first + i if index is None else index[first + i]
        for k in range(out.shape[0]):
            out[k, i] = source[row, k]
    for k in range(out.shape[0]):
        for i in range(rows, out.shape[1]):
            out[k, i] = 0


@compiled
def take_labels(source: IndexArray, index: IndexArray | None, first: int, rows: int, out: IndexArray) -> None:
    """Fill ``out`` (n,) with class numbers as ``take`` does."""
    for i in range(rows):
        out[i] = source[first + i if index is None else index[first + i]]
    for i in range(rows, out.size):
        out[i] = 0


@compiled
def take_factors(
    weight: FloatArray | None, index: IndexArray | None, first: int, rows: int, scale: float, out: FloatArray
) -> None:
    """Fill ``out`` (n,) with ``scale`` times the weights of the samples, and with zeros behind them."""
    for i in range(rows):
        out[i] = scale
        if weight is not None:
            out[i] *= weight[first + i if index is None else index[first + i]]
    for i in range(rows, out.size):
        out[i] = 0


@compiled
def normalize(x: FloatArray, mean: FloatArray, scale: FloatArray, y: FloatArray) -> None:
    """``y = (x - mean) / scale``, each feature with its own."""
    for k in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[k, i] = (x[k, i] - mean[k]) / scale[k]


@compiled
def divide(d: FloatArray, scale: FloatArray, dx: FloatArray) -> None:
    """``dx = d / scale``, each feature by its own."""
    for k in range(d.shape[0]):
        for i in range(d.shape[1]):
            dx[k, i] = d[k, i] / scale[k]
