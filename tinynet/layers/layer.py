"""Layer: what all layers share. A layer holds settings; its arrays are views into the flat vectors of the model.

Subclass ``Layer`` with your own ``forward`` and ``backward`` for a layer that is not here::

    class Scale(tn.Layer):
        def __init__(self):
            super().__init__()
            self.add_parameter("factor", (1,), init="ones")

        def forward(self, x):
            self.x = x
            return x * self.factor

        def backward(self, grad):
            self.factor_grad[...] = (grad * self.x).sum()
            return grad * self.factor
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, State, views
from tinynet.backends.byhand import ByHand
from tinynet.base.arrays import as_real_array_anywhere, as_samples
from tinynet.base.checks import whole
from tinynet.base.guard import Guard
from tinynet.base.hints import Hinting, did_you_mean
from tinynet.base.turns import turn_of
from tinynet.layers.initializers import Fixed, get_initializer
from tinynet.program import CustomOp, Op, Program, Shape

Init = str | float | Callable[..., Any]


@dataclass
class Parameter:
    """Name, shape and initial values of one parameter of a layer."""

    name: str
    shape: Shape
    init: Callable[[Shape, np.random.Generator], Any]
    trainable: bool = True


class Layer(Hinting):
    """Base class of all layers.

    A layer used by itself (``Linear(4, 3).forward(x)``) holds its own arrays, on the default backend, in float32 unless
    ``build`` says otherwise; a model gets the numbers that they were given, not what float32 has made of them. In a
    model its arrays are views into the model's. What is stored and not trained is float64 in any.

    Attributes
    ----------
    n_in, n_out : int or None
        Widths; None: as wide as what comes in.
    training : bool
        Whether ``forward`` is part of a training step; for custom layers.
    trainable : bool
        False freezes the layer, from the next ``fit`` or step on: no gradient is computed for its arrays, no optimizer
        remembers anything of them or changes them, weight decay included.
    """

    n_in: int | None = None
    n_out: int | None = None
    passes = 0
    """Passes forward of a custom layer, by which it is known whose memory it holds."""
    _state: State | None
    _backend: Backend | None
    _bound: dict[str, Array]
    _by_hand: ByHand | None
    _guard: Guard | None
    _owned: bool
    _given: dict[str, NDArray[np.float64]]

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", {})
        self.training, self._frozen = False, False
        self._dtype = "float32"
        self.__dict__.update(_unbound())

    @property
    def trainable(self) -> bool:
        """Whether the layer is trained; False freezes it."""
        return not self._frozen

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{type(self).__name__}.trainable must be True or False; got {value!r}.")
        self._frozen = not value

    # -- for subclasses ----------------------------------------------------------------------------------------------

    def add_parameter(self, name: str, shape: Shape, init: Init = "zeros", *, trainable: bool = True) -> None:
        """Declare a parameter; it becomes ``self.<name>``, its gradient ``self.<name>_grad``, both writable arrays.

        Parameters
        ----------
        name : str
        shape : tuple of int
        init : str, float or callable
            As for ``get_initializer``.
        trainable : bool
            False: stored with the model in float64, not touched by the optimizer, without a gradient.
        """
        shape = tuple(whole(f"{name}.shape", n) for n in shape)
        self._parameters[name] = Parameter(name, shape, get_initializer(init), trainable)

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data, for an input of width ``n``, as the ``index``-th of its program."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x) and backward(grad).")

    def lower(self, n: int, index: int) -> Op:
        """Return ``op``, or a custom op where a subclass computes in Python what ``op`` would not know of."""
        if type(self).forward is not Layer.forward:
            shapes = (tuple(p.shape for p in parameters) for parameters in (self._trainable(), self._buffers()))
            return CustomOp(self, n, self.n_out or n, *shapes)
        return self.op(n, index)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them. A custom layer that is to be saved defines it."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot be saved: it has no config(). Define config() to return the arguments of "
            "its constructor, and pass custom={name: class} to tinynet.load."
        )

    # -- use by itself -----------------------------------------------------------------------------------------------

    def build(self, dtype: str = "float32", seed: int | None = None, backend: str | Backend | None = None) -> Layer:
        """Give a layer that belongs to no model its own arrays with fresh initial values; return the layer."""
        if self._owned:
            raise RuntimeError(f"{self!r} belongs to a model, which holds its arrays; set_weights changes them.")
        place = get_backend(backend)
        self._dtype = str(np.dtype(dtype))
        state = place.new_state(self._program(), self.initial_values(np.random.default_rng(seed)))
        self._given = {}
        self._attach(state, place, self._dtype)
        self._write_buffers()
        return self

    def forward(self, x: Any, training: bool = False) -> Array:
        """Return the output for ``x`` (n_samples, n_in), and remember what ``backward`` needs."""
        given, inputs = self._checked(x)
        assert self._state is not None
        assert self._by_hand is not None
        return self._by_hand.forward(self._program(inputs.shape[1]), self._state, inputs, training, given)

    def backward(self, grad: Any) -> Array:
        """Return the gradient with respect to the last input of ``forward``; overwrite the gradients of the parameters.

        Parameters
        ----------
        grad : (n_samples, n_out) array
            Gradient of the loss with respect to the output of ``forward``.
        """
        hand = self._by_hand
        shape = None if hand is None else hand.shape
        if hand is None or shape is None:
            raise RuntimeError(f"{self!r}.backward expects forward(x) to have run before, in this thread; it has not.")
        assert self._backend is not None
        assert self._state is not None
        given = as_real_array_anywhere(self._backend.admit(grad, "grad"), "grad")
        if given.shape != shape:
            raise ValueError(
                f"{self!r}.backward expects a gradient of shape {shape}, as its output; got {given.shape}."
            )
        return hand.backward(self._state, self._backend.asarray(given, self._dtype), given)

    __call__ = forward

    # -- arrays ------------------------------------------------------------------------------------------------------

    def initial_values(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the initial values of all trainable parameters, flat."""
        drawn = []
        for parameter in self._trainable():
            values = np.asarray(parameter.init(parameter.shape, rng), dtype=np.float64)
            if values.shape != parameter.shape:
                raise ValueError(
                    f"the initializer of {type(self).__name__}.{parameter.name} must return shape {parameter.shape}; "
                    f"got {values.shape}."
                )
            drawn.append(values.ravel())
        return np.concatenate(drawn) if drawn else np.empty(0)

    @property
    def n_parameters(self) -> int:
        """Number of parameters: of all that training may change."""
        return sum(int(np.prod(p.shape)) for p in self._trainable())

    @property
    def parameter_names(self) -> list[str]:
        """Names of all stored arrays, trained or not."""
        return list(self._parameters)

    @property
    def trainable_names(self) -> list[str]:
        """Names of the arrays that training may change."""
        return [p.name for p in self._trainable()]

    @property
    def buffer_names(self) -> list[str]:
        """Names of the arrays that are stored but not trained."""
        return [p.name for p in self._buffers()]

    def parameter_shape(self, name: str) -> Shape:
        """Return the shape of a stored array; nothing is allocated."""
        shape: Shape = self._parameters[name].shape
        return shape

    @property
    def owned(self) -> bool:
        """Whether the layer belongs to a model."""
        return self._owned

    def held_values(self) -> NDArray[np.float64] | None:
        """Return the trained values that the layer holds by itself, flat, or None before it has any."""
        if self._state is None:
            return None
        return np.concatenate([self._held(name).ravel() for name in self.trainable_names] or [np.empty(0)])

    def _held(self, name: str) -> NDArray[np.float64]:
        """Return a copy of an array that the layer holds, in host memory: the numbers that it was given, unrounded."""
        assert self._backend is not None
        here = np.array(self._backend.to_numpy(self._bound[name]))
        given = self._given.get(name)
        # Who has written to the array itself since has given others.
        with np.errstate(over="ignore"):
            if given is not None and np.array_equal(given.astype(here.dtype), here):
                return given.copy()
        return here.astype(np.float64)

    def join(self, state: State, backend: Backend, dtype: str, guard: Guard | None = None) -> None:
        """Belong to a model: let the arrays be views into its vectors, and keep what is stored but not trained."""
        held = {name: self._held(name) for name in self.buffer_names} if self._bound else {}
        self._attach(state, backend, dtype)
        self._owned, self._guard, self._given = True, guard, {}
        self._write_buffers()
        for name, value in held.items():
            setattr(self, name, value)

    def load_buffers(self, values: dict[str, NDArray[Any]]) -> None:
        """Take up stored arrays that are not trained, from a file."""
        for name, value in values.items():
            setattr(self, name, value)

    def _trainable(self) -> list[Parameter]:
        return [p for p in self._parameters.values() if p.trainable]

    def _buffers(self) -> list[Parameter]:
        return [p for p in self._parameters.values() if not p.trainable]

    def _attach(self, state: State, backend: Backend, dtype: str) -> None:
        """Make the layer's arrays views into ``state``, which holds this layer alone."""
        object.__setattr__(self, "_state", state)
        self._backend, self._dtype = backend, dtype
        self._by_hand = ByHand(backend)
        bound = self._bound = {}
        layout = self._program().parameter_layout[0]
        names = [p.name for p in self._trainable()]
        bound.update(zip(names, views(state.parameters, layout), strict=True))
        bound.update(zip([f"{name}_grad" for name in names], views(state.gradients, layout), strict=True))
        offset = 0
        for p in self._buffers():
            size = int(np.prod(p.shape))
            bound[p.name] = state.buffers[offset : offset + size].reshape(p.shape)
            offset += size

    def _write_buffers(self) -> None:
        rng = None
        for p in self._buffers():
            if isinstance(p.init, Fixed):
                values = p.init(p.shape)
            else:
                rng = rng or np.random.default_rng(0)
                values = p.init(p.shape, rng)
            setattr(self, p.name, values)

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that are no plain attribute: parameters and their gradients.
        parameters = self.__dict__.get("_parameters", {})
        if name in parameters or name.removesuffix("_grad") in parameters:
            self._built()
            if name in self._bound:
                return self._bound[name]
        hint = ""
        if not name.startswith("_"):
            hint = did_you_mean(name, [*parameters, *(known for known in dir(self) if not known.startswith("_"))])
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(f"{message}.{hint}" if hint else message)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters", {})
        if name not in parameters and name.removesuffix("_grad") not in parameters:
            object.__setattr__(self, name, value)
            return
        view = getattr(self, name)
        if value is view:
            return
        assert self._backend is not None
        with self._backend.active():
            array = as_real_array_anywhere(self._backend.admit(value, name), name)
            if array.shape not in (view.shape, ()):
                raise ValueError(f"{type(self).__name__}.{name} expects shape {view.shape}; got {array.shape}.")
            with self.changing():
                view[...] = self._backend.asarray(array, view.dtype)
                if not self._owned:
                    self._given[name] = np.broadcast_to(self._backend.to_numpy(array), view.shape).astype(np.float64)

    def changing(self) -> AbstractContextManager[None]:
        """Return a context for a change of the arrays: if they are a model's, one thread at a time changes it."""
        return nullcontext() if self._guard is None else self._guard.changing()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy carry of the layer: its settings, and its arrays in host memory."""
        own = _unbound()
        settings = {name: value for name, value in self.__dict__.items() if name not in own}
        settings["_parameters"] = dict(self._parameters)
        if self._backend is None:
            return {"settings": settings}
        between = self._guard.between if self._guard is not None else lambda use: use()
        return {"settings": settings, "backend": self._backend.name, "arrays": between(self._arrays)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        # joblib hands large arrays to its workers as memory maps that cannot be written.
        own = {name: np.array(v) if isinstance(v, np.memmap) else v for name, v in kept["settings"].items()}
        self.__dict__.update(own | _unbound())
        if "arrays" not in kept:
            return
        place, arrays = get_backend(kept["backend"]), kept["arrays"]
        values = np.concatenate([arrays[name].ravel() for name in self.trainable_names] or [np.empty(0)])
        self._attach(place.new_state(self._program(), values), place, self._dtype)
        self._given = {name: arrays[name] for name in self.trainable_names}
        with place.active():
            for name in self.buffer_names:
                self._bound[name][...] = place.asarray(arrays[name])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return copies of the layer's arrays, in host memory."""
        return {name: self._held(name) for name in self.parameter_names}

    def _program(self, width: int | None = None) -> Program:
        """Return the layer as a program of its own, for inputs of this width."""
        op = self.lower(width or self.n_in or 1, 0)
        return Program((op,), dtype=self._dtype, frozen=(0,) if self._frozen and op.shapes else ())

    def fresh_copy(self) -> Layer:
        """Return a copy with the same settings that belongs to no model and holds no arrays."""
        other: Layer = object.__new__(type(self))
        own = _unbound()
        other.__dict__.update({k: copy.deepcopy(v) for k, v in self.__dict__.items() if k not in own})
        other.__dict__.update(own)
        return other

    # -- parts -------------------------------------------------------------------------------------------------------

    def _checked(self, x: Any) -> tuple[Array, Array]:
        """Return checked samples as they were given, and on the backend."""
        self._built()
        assert self._backend is not None
        with self._backend.active():
            reads = self._program().reads
            given = as_samples(self._backend.admit(x, "x"), "x", self.n_in, reads, expects=repr(self))
            return given, self._backend.asarray(given, reads)

    def _built(self) -> None:
        """Hold arrays, from the first time on that somebody asks for them."""
        if self._state is None:
            with turn_of(self):
                if self._state is None:
                    self.build()

    def __repr__(self) -> str:
        sizes = ", ".join(str(n) for n in (self.n_in, self.n_out) if n is not None)
        return f"{type(self).__name__}({sizes})"


def _unbound() -> dict[str, Any]:
    """Return what a layer has that belongs to no model and holds no arrays; nothing of it goes into a copy."""
    return {
        "_state": None,
        "_backend": None,
        "_bound": {},
        "_by_hand": None,
        "_guard": None,
        "_owned": False,
        "_given": {},
    }
