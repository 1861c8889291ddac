"""What the loop of Levenberg and Marquardt reads: the numbers of each model, and its table."""

from __future__ import annotations

from typing import NamedTuple

NUMBERS = (
    "damping",
    "decrease",
    "increase",
    "max_damping",
    "min_gradient",
    "weight_decay",
    "goal",
    "marquardt",
    "acceleration",
    "report",
    "single",
    "given",
    "values",
    "stop",
    "made",
    "evidence",
    "effective",
)
"""What each model has of its own; behind it is what the square of each parameter is weighed by.

The settings of the optimizer; what a loss is multiplied by where it is told; 1 if parameters and damping are kept in
float32; 1 if the sums of the first step are there already; how many target values there are, if the evidence weighs
squares, else 0; the place of the reason to stop, and how many steps were made; what the evidence weighs squares by, and
the number of effective parameters. Damping and the last four are those after the call.
"""


class Words(NamedTuple):
    """The table: addresses of kernels and of their tables, sizes, and places in the arena."""

    drive_items: int
    solve: int
    solve_again: int
    trace: int
    sums: int
    values: int
    bend: int
    solution: int
    where: int
    """Where each trained parameter is among all: an address."""
    n: int
    n_parameters: int
    columns: int
    line: int
    """Bytes from a row of a matrix to the next."""
    parts: int
    whole: int
    """1 if ``values`` leaves behind what ``sums`` begins with; else both go all the way."""
    matrix: int
    """Places: of two matrices, if there are parts, of the losses of the parts, and of vectors of ``n`` numbers."""
    losses: int
    decay: int
    scale: int
    diagonal: int
    step: int
    correction: int
    bent: int
    trial: int
    """Places of ``n_parameters`` numbers each: the points at which losses and predictions are asked for."""
    before: int
    behind: int
    middle: int
