"""gradient_check: the gradient that backpropagation gives against the one that the loss itself shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.backends.loop import LoopPlan
from tinynet.base.checks import whole
from tinynet.base.frozen import dataclass
from tinynet.base.hints import hints_arguments
from tinynet.losses import Loss, get_loss
from tinynet.program import LinearOp, Program
from tinynet.training.trainable import Trainable

STEP = float(np.finfo(np.float64).eps ** 0.2)
"""Balances the truncation error h**4 of the five-point stencil against rounding, eps / h."""

SMOOTH = 1e-5
"""What a kink makes of slopes, relative to them, beyond which there is one, if it makes as much over a tenth of the
step: what a smooth function makes falls to a hundredth, or further."""

TOLERANCE = 1e-6
SHOWN_ROWS = 40

MOST_UNITS = 256
"""Samples that may become weights: there are as many numbers in the unit vectors as the square of that."""


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of ``gradient_check``; ``print(report)`` shows it as a table.

    Attributes
    ----------
    names : list of str
        One for each element that was checked: ``"layer0.weight[0, 1]"``, ``"x[0, 2]"``.
    analytic, numeric, relative_error : (n_checked,) float64
        The error is relative to the larger of the two, but at least to the root mean square of its array, and to a
        millionth of the loss: below that, differences of losses show their rounding.
    n_elements : int
        How many there are, those that were not checked included.
    n_kinks : int
        How many were left out, as the loss has a kink at them (ReLU, absolute errors), and no slope to compare with.
    """

    names: list[str]
    analytic: NDArray[np.float64]
    numeric: NDArray[np.float64]
    relative_error: NDArray[np.float64]
    n_elements: int
    n_kinks: int

    @property
    def max_relative_error(self) -> float:
        """The largest relative error."""
        return float(self.relative_error.max(initial=0.0))

    @property
    def passed(self) -> bool:
        """Whether all relative errors are below 1e-6, and there is one."""
        return len(self.names) > 0 and self.max_relative_error < TOLERANCE

    def __str__(self) -> str:
        """Return the table: every element, or the worst where there are many."""
        order = np.arange(len(self.names))
        if len(order) > SHOWN_ROWS:
            order = np.argsort(-self.relative_error, kind="stable")[:SHOWN_ROWS]
        width = max([len("parameter"), *(len(self.names[i]) for i in order)])
        lines = [f"{'parameter':{width}}  {'analytic':>15}  {'numeric':>15}  {'relative error':>14}"]
        for i in order:
            figures = f"{self.analytic[i]:15.8e}  {self.numeric[i]:15.8e}  {self.relative_error[i]:14.2e}"
            lines.append(f"{self.names[i]:{width}}  {figures}")
        if len(order) < len(self.names):
            lines.append(f"... (the {len(order)} worst are shown)")
        return "\n".join([*lines, self._total()])

    def __repr__(self) -> str:
        return f"GradientCheck({self._total()})"

    def _total(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        checked = f"{len(self.names):,} of " if len(self.names) < self.n_elements else ""
        kinks = f" ({self.n_kinks:,} at a kink or a sharp bend left out)" if self.n_kinks else ""
        worst = f"largest relative error {self.max_relative_error:.2e}"
        return f"{checked}{self.n_elements:,} elements{kinks}, {worst}: {verdict}"


@hints_arguments
def gradient_check(
    model: Trainable, x: Any, y: Any, *, loss: str | Loss = "mse", sample_weight: Any = None, most: int = 5000
) -> GradientCheck:
    """Compare analytic gradients with central differences, in float64, for the parameters and the inputs.

    Works on a float64 copy of the model; the model is untouched. What is checked is the code that trains it, where that
    can be asked for the gradient of one batch, else a loop over kernels. Dropout is active with one fixed mask.
    Elements at which the loss has a kink (ReLU, absolute error) are left out: it has no slope to compare there.

    Parameters
    ----------
    model : Sequential
    x, y, sample_weight
        As for ``fit``; taken as one batch.
    loss : str or Loss
    most : int
        Elements that are checked: each takes four losses. Where there are more, every array is checked in as many of
        its elements, which are drawn, always the same ones.

    Returns
    -------
    GradientCheck
        Raises nothing where gradients differ: look at ``passed`` or print it.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(2, 2), tn.Tanh(), seed=0)
    >>> tn.gradient_check(net, [[0.1, 0.2]], [[1.0, 0.0]], loss="mse").passed
    True
    """
    with model.backend.active():
        copy = model.clone(dtype="float64", precision="float32")
        return _checked(copy, x, y, get_loss(loss), sample_weight, whole("most", most))


def _checked(copy: Trainable, x: Any, y: Any, chosen: Loss, sample_weight: Any, most: int) -> GradientCheck:
    """Check a float64 model that nobody needs afterwards."""
    data = copy._data(chosen, x, y, sample_weight)
    program, backend = copy.program.taught(copy._loss_spec(chosen, data.y)), copy.backend
    samples, target = backend.asarray(data.x), backend.asarray(data.y)
    weight = None if data.weight is None else backend.asarray(data.weight)
    found = _as_trained(copy, program, samples, target, weight) or _by_kernels(copy, program, samples, target, weight)
    names, sizes = _names(copy, samples.shape)
    drawn = _drawn(sizes, most)
    places, first = np.concatenate(drawn), len(found.vectors[0])  # Of the second vector's elements.
    a = np.concatenate([backend.to_numpy(gradient).ravel() for gradient in found.gradients])[places]

    def slopes(which: NDArray[np.int64], step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        parts = which[which < first], which[which >= first] - first
        own = [_differences(v, part, found.value, step) for v, part in zip(found.vectors, parts, strict=True)]
        return np.concatenate([n for n, _ in own]), np.concatenate([bend for _, bend in own])

    groups, least = np.repeat(np.arange(len(drawn)), [len(part) for part in drawn]), 1e-6 * abs(found.value())
    n, bend = slopes(places, STEP)
    bent = np.flatnonzero(bend > SMOOTH * _scale(groups, least, n))
    n[bent], bend[bent] = slopes(places[bent], STEP / 10)
    smooth = bend <= SMOOTH * _scale(groups, least, n)
    a, n, places, groups = a[smooth], n[smooth], places[smooth], groups[smooth]
    scale = _scale(groups, least, n, a)
    error = np.divide(np.abs(a - n), scale, out=np.zeros_like(a), where=scale > 0)
    return GradientCheck([names[i] for i in places], a, n, error, len(names), int((~smooth).sum()))


def _drawn(sizes: list[int], most: int) -> list[NDArray[np.int64]]:
    """Return which elements of each of several arrays are checked, by their places in all of them."""
    starts, rng = np.cumsum(sizes) - sizes, np.random.default_rng(0)
    share = most if sum(sizes) <= most else max(1, most // len(sizes))
    return [
        start + np.sort(rng.choice(size, min(size, share), replace=False))
        for start, size in zip(starts, sizes, strict=True)
    ]


class _Compared(NamedTuple):
    """Gradients, and what shows them: a loss, and the vectors that it reads, by which it is derived."""

    value: Callable[[], float]
    vectors: tuple[Array, Array]
    gradients: tuple[Array, Array]


def _as_trained(
    copy: Trainable, program: Program, samples: Array, target: Array, weight: Array | None
) -> _Compared | None:
    """Compare in the fused code that trains; None where there is none.

    Training needs no gradient by the samples, so they become weights: of a layer before all others, that reads unit
    vectors.
    """
    assert program.loss is not None
    if len(samples) > MOST_UNITS or program.loss.l2 or program.reads_slopes:  # They would count as weights, or inputs.
        return None
    n_samples, n_in = samples.shape
    first = LinearOp(n_samples, n_in, bias=False)
    program = replace(program, ops=(first, *program.ops))
    plan = copy.backend.plan(program)
    if not plan.gradient_is_fused:
        return None
    parameters = np.concatenate([samples.ravel(), copy.state.parameters])
    state = copy.backend.new_state(program, parameters, copy.state.dropout_seed, copy.state.buffers)
    state.draws = copy.state.draws
    units = np.eye(n_samples)

    def value() -> float:
        return float(plan.gradient(state, units, target, weight))

    value()
    parts = slice(samples.size, None), slice(samples.size)
    gradients = state.gradients.copy()
    return _Compared(value, tuple(state.parameters[part] for part in parts), tuple(gradients[part] for part in parts))


def _by_kernels(copy: Trainable, program: Program, samples: Array, target: Array, weight: Array | None) -> _Compared:
    """Compare in a loop over kernels, which takes any program."""
    plan = LoopPlan(program, copy.backend, "gradient check")
    samples = samples.copy()

    def value() -> float:
        return plan.gradient(copy.state, samples, target, weight)

    d_input = plan.input_gradient(copy.state, samples, target, weight)
    return _Compared(value, (copy.state.parameters, samples.reshape(-1)), (copy.state.gradients.copy(), d_input))


def _differences(
    flat: Any, places: NDArray[np.int64], value: Any, step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the derivative of ``value()`` with respect to some elements of an array; and what kinks make.

    The five-point central difference (Abramowitz and Stegun 1964, 25.3.6) is four thirds of the slope over one step to
    each side less a third of that over two. These two differ where a kink is beside an element. Where it is right at
    it, the slope changes by as much over one step as over two; that of a smooth function by half as much.
    """
    slopes, changes, middle = np.empty((2, len(places))), np.empty((2, len(places))), value()
    for k, i in enumerate(places.tolist()):
        before = float(flat[i])
        own = step * max(1.0, abs(before))
        for row, reach in enumerate((own, 2 * own)):
            flat[i] = before + reach
            above = value()
            flat[i] = before - reach
            below = value()
            slopes[row, k] = (above - below) / (2 * reach)
            changes[row, k] = (above - 2 * middle + below) / reach
        flat[i] = before
    (near, far), (less, more) = slopes, changes
    return (4 * near - far) / 3, np.maximum(np.abs(near - far), np.abs(more - 2 * less))


def _names(model: Trainable, shape: tuple[int, ...]) -> tuple[list[str], list[int]]:
    """Return the name of every element, and the number of elements of every array."""
    named = [
        (f"layer{position}.{name}", layer.parameter_shape(name))
        for position, layer in enumerate(model.layers)
        for name in layer.trainable_names
    ]
    named.append(("x", shape))
    names = [f"{name}[{', '.join(map(str, index))}]" for name, s in named for index in np.ndindex(*s)]
    return names, [int(np.prod(s)) for _, s in named]


def _scale(
    groups: NDArray[np.int64], least: float, n: NDArray[np.float64], *others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what errors of slopes are relative to: the largest of them, the rms of ``n`` in its array, and ``least``.

    An element far below its array's size carries that size's rounding, and all carry that of the loss, times
    1 / ``STEP``: the derivative by a bias before a batch norm is 0.
    """
    counts = np.maximum(np.bincount(groups), 1)
    rms = np.sqrt(np.bincount(groups, np.square(n)) / counts)[groups]
    scale: NDArray[np.float64] = np.maximum.reduce([rms, np.full_like(n, least), *map(np.abs, (n, *others))])
    return scale
