"""Backend and Plan: the contract between the model layer and the machines that compute.

What they work on, ``tinynet.backends.state``, is to be had from here, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from types import ModuleType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends.state import (
    Array,
    FloatArray,
    Members,
    State,
    fresh_state,
    own_steps,
    own_weight,
    rows_of,
    views,
)
from tinynet.base.arrays import numpy_namespace
from tinynet.program import Precision, Program, Shape

__all__ = [
    "Array",
    "Backend",
    "Derivatives",
    "FloatArray",
    "Granularity",
    "Members",
    "Plan",
    "State",
    "fresh_state",
    "on_backend",
    "own_steps",
    "own_weight",
    "rows_of",
    "views",
]

Granularity = Literal["epoch", "step"]


class _OnBackend(Protocol):
    """Something that belongs to a backend."""

    backend: Backend


_Owner = TypeVar("_Owner", bound=_OnBackend)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def on_backend(
    method: Callable[Concatenate[_Owner, _Arguments], _Result],
) -> Callable[Concatenate[_Owner, _Arguments], _Result]:
    """Let a method run where its owner's arrays can be worked on; see ``Backend.active``."""

    @wraps(method)
    def active(self: _Owner, /, *args: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        with self.backend.active():
            return method(self, *args, **keywords)

    return active


_EVERYWHERE: AbstractContextManager[None] = nullcontext()


class Plan(ABC):
    """An executable, made once for a program. Its scratch is allocated once; nothing allocates inside the loop."""

    program: Program
    description: str
    """Which plan this is and why, for instance ``"loop: custom layer Foo"``."""
    figure_names: tuple[str, ...] = ()
    """Names of what ``figures`` tells of each epoch."""
    call_seconds: float | None = None
    """How long a call of ``run`` should take, where it is dear to start one; None: as short as people like to wait."""
    gradient_is_fused: bool = False
    """Whether ``gradient`` is one call, and nothing to wait for when it is first asked."""

    @abstractmethod
    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
        members: Members | None = None,
    ) -> NDArray[np.float64]:
        """Train, and return the loss of each epoch.

        Parameters
        ----------
        state : State
            Changed in place.
        x : (n_samples, n_in) array
        y : (n_samples, n_out) array, or (n_samples,) int array for losses on class numbers
            Data are arrays of the backend, or all in host memory where ``Backend.hold`` has left them there.
        order : (n_epochs, n_visits) int array or None
            The rows of ``x`` in the order of their use, an epoch a row, cut into batches of ``program.batch_size``; the
            last batch may be smaller. None: every row once, in the order in which they lie. In host memory or of the
            backend.
        learning_rates : (n_epochs, n_rates) float64 array
            ``n_rates`` is 1, or the number of updates in an epoch.
        sample_weight : (n_samples,) array, optional
            Factor of each sample's loss.
        members : (n_members,) int64 array, optional
            Numbers of the models of an ensemble that are trained; by default all. The others cost nothing.

        Returns
        -------
        losses : (n_epochs, n_models) float64 array
            With reduction "mean" the mean over the epoch's samples, with "sum" their total.

        Notes
        -----
        The models of an ensemble share ``x`` and ``y``. Each may have its own weights, (n_models, n_samples), order,
        (n_epochs, n_members, n_visits), and learning rates, (n_epochs, n_rates, n_members). The last two, and the
        losses, are of those that are trained.
        """

    @abstractmethod
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the network's output for ``x`` (n_samples, n_in) to ``out`` (n_samples, n_out).

        Both are arrays of the backend, or both are in host memory. For an ensemble ``out`` is (n_members, n_samples,
        n_out), of the models ``members``, by default all.

        Returns
        -------
        finite : bool
            Whether all of ``x`` is finite: a plan that reads it anyway can tell for nothing. On a GPU it is an array of
            one element, and who asks for its truth waits for the device.
        """

    @abstractmethod
    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict with ``state``, for one sample at a time.

        Returns
        -------
        predict : callable
            Gives the output for what is ready to be computed on, and None for all else: whatever must be converted or
            refused goes the long way, which tells why.
        """

    @abstractmethod
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss of all of ``x`` taken as one batch, of an ensemble (n_models,); fill ``state.gradients``."""

    def stop_reason(self, state: State) -> str:
        """Return why the optimizer makes no more steps with ``state``; empty where it goes on for ever."""
        return ""

    def stopped(self, state: State, members: Members) -> NDArray[np.bool_]:
        """Tell of which models of an ensemble, of some, the optimizer has stopped by itself."""
        return np.zeros(len(members), bool)

    def resume(self, state: State) -> None:
        """Let an optimizer that has stopped by itself begin again."""
        return

    def figures(self, state: State) -> dict[str, float]:
        """Return what an optimizer tells of the last epoch, by name."""
        return {}

    @abstractmethod
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> Any:
        """Return the loss over ``x`` with dropout off, of an ensemble (n_members,); nothing in ``state`` changes."""


class Derivatives(Protocol):
    """Derivatives of predictions for (n_samples, n_in) arrays in host memory; see ``Sequential.jacobian``."""

    def jacobian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives by the inputs, (n_samples, n_out, n_in)."""

    def hessian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the second derivatives by the inputs, (n_samples, n_out, n_in, n_in)."""

    def jvp(self, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives along directions, (n_samples, n_out)."""

    def vjp(self, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives of ``sum(v * prediction)`` by the inputs, (n_samples, n_in)."""

    def parameter_jacobian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives by the parameters, (n_samples, n_out, n_parameters)."""


class Backend(ABC):
    """A kind of machine: its arrays, its kernels and its plans."""

    name: str
    kernels: ModuleType
    namespace: ModuleType
    """The array module (NumPy or CuPy) for code that users write."""

    @abstractmethod
    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        """Return a C-contiguous array of this backend; a copy only where one is needed."""

    @abstractmethod
    def to_numpy(self, array: Array) -> NDArray[Any]:
        """Return the array in host memory."""

    @abstractmethod
    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        """Return an array with arbitrary contents."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work that was handed over is done."""

    def check_precision(self, precision: Precision) -> None:
        """Make sure that products can be computed in a precision here.

        Raises
        ------
        ValueError
            If they cannot; nothing is computed in another precision in silence.
        """
        if precision != "float32":
            raise ValueError(
                f"precision={precision!r} needs the GPU backend; got the backend {self.name!r}, which multiplies in "
                "the model's dtype. Leave precision out (or pass precision='float32'), or use backend='gpu'."
            )

    def kernels_for(self, program: Program) -> Any:
        """Return the kernels, with products in the precision of a program."""
        return self.kernels

    def using_threads(self, n: int | None) -> AbstractContextManager[None]:
        """Return a context in which matrix products use ``n`` threads; None leaves what is in force."""
        return nullcontext()

    def for_products(self, size: int) -> AbstractContextManager[None]:
        """Return a context for matrix products of which the largest is of ``size`` multiplications.

        In it they use no more threads than they repay, and have the same bits whatever the number of cores, as long as
        that is one.
        """
        return nullcontext()

    def following(self) -> Callable[[], AbstractContextManager[None]]:
        """Return what lets another thread work as this one does: on its device, and in the order of its work.

        The thread calls it, and works within the context that it gets.
        """
        return nullcontext

    def active(self) -> AbstractContextManager[None]:
        """Return a context in which arrays of this backend can be worked on; whatever computes stands in one."""
        return _EVERYWHERE

    def admit(self, data: Any, name: str) -> Any:
        """Return data that lie in a GPU's memory as an array of this backend, and all else as it is.

        Raises
        ------
        TypeError, ValueError
            If they lie where this backend does not compute; ``name`` is what the message calls them.
        """
        return data

    def hold(self, **arrays: Array | None) -> tuple[Array | None, ...]:
        """Return checked data where plans read them from: as arrays of this backend wherever they fit.

        Parameters
        ----------
        **arrays : array or None
            By the names that messages call them.

        Returns
        -------
        tuple
            In the order of the arguments: all as arrays of the backend, or all in host memory.
        """
        return tuple(None if array is None else self.asarray(array) for array in arrays.values())

    def beside(self, array: Array, other: Array) -> Array:
        """Return a copy of an array of this backend that lives where ``other`` does: here, or in host memory."""
        return array.copy() if numpy_namespace(other) is self.namespace else self.to_numpy(array)

    def describe(self) -> dict[str, str]:
        """Return what ``tinynet info`` tells about the machine that this backend computes on, by name."""
        return {}

    @abstractmethod
    def plan(self, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return the quickest plan for the program.

        Parameters
        ----------
        program : Program
        granularity : {"epoch", "step"}
            "step" asks for a plan that leaves the gradients of every update in the state.
        streamed : bool
            Whether ``hold`` has left the data in host memory.
        """

    @abstractmethod
    def derivatives(self, program: Program, state: State) -> Derivatives:
        """Return what derives the predictions of a program with the parameters that a state has now.

        Raises
        ------
        NotImplementedError
            If a layer is written in Python.
        """

    def derivative_of_few(self, name: str, program: Program, state: State) -> Callable[..., Array | None]:
        """Return the shortest way to a derivative of few samples that need no conversion; it gives None for all others.

        ``name`` is that of a method of ``Derivatives``, whose arguments it takes. By default there is none.
        """
        return lambda *given: None

    def plan_for(
        self, state: State, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False
    ) -> Plan:
        """Return the quickest plan for a program and a state that lies where it does; see ``plan``."""
        return self.plan(program, granularity=granularity, streamed=streamed)

    def new_moments(self, state: State, n_moments: int, n_trained: int) -> Array:
        """Return zeros for what an optimizer remembers of a state: arrays of this backend, where the others lie."""
        return self.asarray(np.zeros((n_moments, *state.parameters.shape[:-1], n_trained), state.parameters.dtype))

    def new_state(
        self, program: Program, parameters: FloatArray, dropout_seed: Any = 0, buffers: FloatArray | None = None
    ) -> State:
        """Return a state with these parameters and buffers, of host memory, and all else zero.

        Buffers of one model are those of all the models of an ensemble.
        """
        return fresh_state(program, parameters, dropout_seed, self.asarray, buffers)
