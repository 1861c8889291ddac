"""Calls of generated code that are prepared once, and made again and again with the same arrays.

Looking up what an array is and where it lies takes longer than an epoch of a tiny network, so a call keeps what it has
found, and of all that may have changed looks only at what tells.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.task import Data, Task

from tinynet.backends.base import Array, State
from tinynet.program import Program

KEPT_ROWS = 1 << 16
"""Most numbers of rows in their order that are kept: for more of them it does not matter."""

VECTORS = ("parameters", "gradients", "moments", "buffers")
"""What compiled code reads and writes of a state."""


def vectors_of(state: State) -> dict[str, Array]:
    """Return what a state holds now. Who passes addresses on must keep the arrays: another thread may replace them."""
    return {name: getattr(state, name) for name in VECTORS}


def addresses_of(vectors: dict[str, Array]) -> dict[str, int]:
    """Return where they are."""
    return {name: address(vector) for name, vector in vectors.items()}


def check_sizes(vectors: dict[str, Array], program: Program, *, trains: bool) -> None:
    """Refuse to compute on what has not the sizes of the program: compiled code would read and write beyond it.

    Raises
    ------
    RuntimeError
        If there are fewer numbers than the program has, of a model or of each of many.
    """
    n, n_trained, models = program.n_parameters, program.n_trained, ()
    if program.n_models is not None:
        models = vectors["parameters"].shape[:1]
    n_moments = program.optimizer.n_moments if program.optimizer is not None and trains else 0
    parameters, moments = vectors["parameters"], vectors["moments"]
    remembers = not n_moments or (len(moments) >= n_moments and moments.shape[1:] == (*models, n_trained))
    if parameters.shape != (*models, n) or not remembers:
        raise RuntimeError(
            f"this plan trains {n_trained} of {n} parameters with {n_moments} numbers each that the optimizer "
            f"remembers; got {parameters.size} parameters and memory of the shape {moments.shape}. Another training "
            "of the same model has begun meanwhile: train a model in one place at a time."
        )


class Call:
    """A task with the context of one model, and of data that lie in memory in one way.

    It keeps the model's vectors, and of the data what kind they are: a model must not keep its data alive.

    Parameters
    ----------
    task : Task
    data : dict of str to Data
    vectors : dict of str to array
        Of the model: those that it must have for the call to suit it.
    n_visits : int
    words : dict of str to int
        What of the context is the same in all runs, the places of the vectors among it.
    divisor : float
    n_threads : int
    """

    def __init__(
        self,
        task: Task,
        data: dict[str, Data],
        vectors: dict[str, Array],
        n_visits: int,
        words: dict[str, int],
        divisor: float,
        n_threads: int,
    ) -> None:
        self.task, self._vectors = task, tuple(vectors.values())
        self.losses, self._n_visits = np.zeros(1), n_visits
        self._rows: NDArray[np.int64] | None = None
        fixed = {"n_visits": n_visits, "n_rates": 1, "n_epochs": 1, "order_step": 0, "losses": address(self.losses)}
        for name, source in data.items():
            fixed |= source.words(name)
        self.space = task.ready(fixed | words, divisor, n_threads)
        self._words, self._order_step = self.space.words, 8 * n_visits
        self._sources = [(PLACES[name], source.array.dtype, source.array.strides) for name, source in data.items()]

    def suits(self, state: State, arrays: tuple[Array, ...]) -> bool:
        """Tell whether a state and data are such as it was made for; if so, it reads them from now on."""
        parameters, gradients, moments, buffers = self._vectors
        if not (
            state.parameters is parameters
            and state.gradients is gradients
            and state.moments is moments
            and state.buffers is buffers
            and len(arrays) == len(self._sources)
        ):
            return False
        words = self._words
        for array, (place, dtype, strides) in zip(arrays, self._sources, strict=True):
            if array.dtype is not dtype or array.strides != strides:
                return False
            words[place] = address(array)
        return True

    def run(self, state: State, order: Array | None) -> bool:
        """Run the task for the order of one or more epochs; None: as the rows lie."""
        words = self._words
        if order is None:
            order = self._as_they_lie()
            words[_ORDER], words[_ORDER_STEP] = address(order), 0
        else:
            order = np.ascontiguousarray(order, np.int64)
            words[_ORDER], words[_ORDER_STEP] = address(order), self._order_step
        seed = int(state.dropout_seed)
        words[_STEP], words[_DRAWS], words[_SEED] = state.step, state.draws, seed - (seed >> 63 << 64)
        return self.task.run(self.space)

    def _as_they_lie(self) -> NDArray[np.int64]:
        """Return the order of rows as they lie."""
        rows = np.arange(self._n_visits) if self._rows is None else self._rows
        self._rows = rows if self._n_visits <= KEPT_ROWS else None
        return rows

    def run_into(self, out: NDArray[Any], state: State) -> bool:
        """Run the task for all rows as they lie; ``out`` is what it writes."""
        self._words[_OUT] = address(out)
        return self.run(state, None)

    def run_epochs(
        self, state: State, order: Array | None, rates: NDArray[np.float64], losses: NDArray[np.float64]
    ) -> bool:
        """Run the task for several epochs, each with its rates, and write their losses."""
        words = self._words
        n_epochs, n_rates = rates.shape
        words[_RATES], words[_N_RATES], words[_LOSSES] = address(rates), n_rates, address(losses)
        # A kernel for tiny networks counts the epochs itself.
        words[_N_EPOCHS], words[_LAPS] = 0 if self.task.counts else n_epochs, n_epochs
        return self.run(state, order)


AnyCall = TypeVar("AnyCall", bound=Call)


class Calls(Generic[AnyCall]):
    """Calls that are ready, by what they are for. Who takes one has it alone.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ready: dict[Hashable, AnyCall] = {}

    def take(self, key: Hashable, state: State, arrays: tuple[Array, ...]) -> AnyCall | None:
        """Return the call that was made last for a key, if it suits."""
        call = self._ready.pop(key, None)
        if call is None or call.suits(state, arrays):
            return call
        call.task.release(call.space)
        return None

    def give_back(self, key: Hashable, call: AnyCall) -> None:
        """Keep a call for the next time; the one that has not been used for longest goes."""
        self._ready[key] = call
        while len(self._ready) > self._most:
            oldest = self._ready.pop(next(iter(list(self._ready)), None), None)
            if oldest is not None:
                oldest.task.release(oldest.space)


_OUT = PLACES["out"]
_ORDER, _ORDER_STEP, _STEP, _DRAWS, _SEED = (PLACES[name] for name in ("order", "order_step", "step", "draws", "seed"))
_RATES, _N_RATES, _LOSSES, _N_EPOCHS, _LAPS = (
    PLACES[name] for name in ("rates", "n_rates", "losses", "n_epochs", "laps")
)
