"""State: all that training changes of a model, or of many, as flat vectors; and the pieces of such vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.program import Program, Shape

Array = Any
"""An array of the backend: ``numpy.ndarray``, or ``cupy.ndarray`` on the GPU."""

FloatArray = NDArray[np.floating[Any]]
Members = NDArray[np.int64]
"""Numbers of some models of an ensemble."""


@dataclass
class State:
    """All that training changes, as flat contiguous vectors on the backend.

    The state of an ensemble has the models as an axis of their own: parameters, gradients and buffers are (n_models,
    n), moments (n_moments, n_models, n_trained), and ``step``, ``draws`` and ``dropout_seed`` are (n_models,) int64
    arrays in host memory.

    Attributes
    ----------
    parameters, gradients : (n_parameters,) float
    moments : (n_moments, n_trained) float
        What the optimizer remembers of the parameters that are trained: of all, where no layer is frozen.
    buffers : (n_buffers,) float64
        What layers store but nobody trains (the columns of ``Normalize``), whatever the dtype of the computation.
    step : int
        Updates made by the current optimizer.
    draws : int
        Dropout masks are drawn from this counter; it grows by one an update and is never reset.
    dropout_seed : int
        Key of the masks.
    models : (n_models,) int64 array or None
        The numbers that the models have in the ensemble of the program, where this is the state of some of them; None:
        of all. ``members``, and weights of each model, count those that are here.
    rows : (n_rows,) int array of the backend, or None
        Where in their batch the samples of a call stand, where others have the rest of it: masks are drawn for a batch.
    """

    parameters: Array
    gradients: Array
    moments: Array
    buffers: Array
    step: Any = 0
    draws: Any = 0
    dropout_seed: Any = 0
    models: Members | None = None
    rows: Array | None = None

    def chosen(self, members: Members | None) -> Members:
        """Return which of the models that are here are meant: None stands for all."""
        return np.arange(len(self.parameters)) if members is None else np.asarray(members, np.int64)

    def numbers(self, members: Any) -> Any:
        """Return the numbers in the ensemble of some of the models that are here, or of one of them."""
        return members if self.models is None else self.models[members]


def views(flat: Array, layout: tuple[tuple[int, Shape], ...]) -> tuple[Array, ...]:
    """Return the pieces of a flat vector, shaped, without a copy; of many models' vectors, those of all models."""
    models = flat.shape[:-1]
    return tuple(flat[..., offset : offset + math.prod(shape)].reshape(*models, *shape) for offset, shape in layout)


def rows_of(members: Members) -> Any:
    """Return what takes the rows of some models: a slice where they follow one another, which takes no copy."""
    whole = slice(int(members[0]), int(members[-1]) + 1)
    return whole if np.array_equal(members, np.arange(whole.start, whole.stop)) else members


def own_steps(order: Array | None, learning_rates: FloatArray, place: Any) -> tuple[Array | None, FloatArray]:
    """Return the orders and learning rates of some models, or of one, by place among ``members``; see ``Plan.run``.

    What all models share stays as it is.
    """
    return (
        order[:, place] if order is not None and order.ndim == 3 else order,
        learning_rates[..., place] if learning_rates.ndim == 3 else learning_rates,
    )


def own_weight(weight: Array | None, models: Any) -> Array | None:
    """Return the sample weights of some models, or of one; those that all models share stay as they are."""
    return weight[models] if weight is not None and weight.ndim == 2 else weight


def fresh_state(
    program: Program,
    parameters: FloatArray,
    dropout_seed: Any,
    placed: Callable[[FloatArray], Array],
    buffers: FloatArray | None = None,
) -> State:
    """Return the state of ``Backend.new_state``; ``placed`` brings an array to where it is to lie."""
    dtype = np.dtype(program.dtype)
    n_moments = program.optimizer.n_moments if program.optimizer else 0
    models = () if program.n_models is None else (program.n_models,)
    counter = 0 if program.n_models is None else np.zeros(program.n_models, np.int64)
    held = np.zeros((*models, program.n_buffers))
    if buffers is not None:
        held[...] = buffers
    return State(
        parameters=placed(np.array(parameters, dtype=dtype)),
        gradients=placed(np.zeros((*models, program.n_parameters), dtype)),
        moments=placed(np.zeros((n_moments, *models, program.n_trained), dtype)),
        buffers=placed(held),
        step=counter,
        draws=np.copy(counter) if models else 0,
        dropout_seed=dropout_seed,
    )
