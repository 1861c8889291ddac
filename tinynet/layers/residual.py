"""Residual: layers with a way around them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Backend, State
from tinynet.layers.columns import Columns
from tinynet.layers.dropout import Dropout
from tinynet.layers.embedding import Embedding
from tinynet.layers.initializers import get_initializer
from tinynet.layers.layer import Init, Layer, Parameter
from tinynet.layers.row import checked_layers, widths
from tinynet.program import Op, ResidualOp

PLACES = 1 << 8
"""Most layers in a Residual; so the dropout layers within have numbers of their own, by which their masks are drawn."""


class Residual(Layer):
    """``y = x + f(x)`` around layers ``f``; where they change the width, ``y = x @ projection + f(x)``.

    He, Zhang, Ren and Sun (2016), eqs. 1 and 2: what the layers learn is how the output differs from the input, so that
    deep networks train. An activation after the sum is a layer of its own. A Residual may hold others.

    Parameters
    ----------
    *layers : Layer
        Of any kind but those that scale or read the columns of data (``Normalize``, ``Denormalize``, ``Embedding``).
    weight_init : str, float or callable
        Of the projection.

    Attributes
    ----------
    layers : tuple of Layer
        With their own ``weight``, ``bias`` and so on. In a model's names and files they are "0.weight", "2.bias", and
        the projection is "projection.weight", as in PyTorch's ``state_dict``.

    Examples
    --------
    >>> import tinynet as tn
    >>> layer = Residual(tn.Linear(2, 2, weight_init="ones"), tn.ReLU())
    >>> layer([[1.0, 2.0]])
    array([[4., 5.]], dtype=float32)
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, weight_init: Init = "glorot") -> None:
        super().__init__()
        self.layers = checked_layers(layers, "Residual")
        if len(self.layers) > PLACES:
            raise ValueError(f"Residual expects at most {PLACES} layers; got {len(self.layers)}.")
        for layer in self.layers:
            if isinstance(layer, Columns | Embedding):
                raise ValueError(f"{layer!r} stands before or behind a Residual, and not in it. Take it out.")
            if isinstance(layer, Dropout) and not isinstance(layer.rate, float):
                raise ValueError(f"{layer!r} within a Residual expects one rate for all models.")
            layer._owned = True
        self._widths = widths(self.layers, "Residual")
        self.n_in = self._widths[0]
        self.n_out = self.layers[-1].n_out or self._widths[-1]
        for i, layer in enumerate(self.layers):
            for own in layer._parameters.values():
                name = f"{i}.{own.name}"
                self._parameters[name] = Parameter(name, own.shape, own.init, own.trainable)
        if self.n_in != self.n_out:
            init = get_initializer(weight_init)
            self._parameters["projection.weight"] = Parameter("projection.weight", (self.n_in, self.n_out), init)
        self._require_alike()

    def _require_alike(self) -> None:
        """Raise ValueError if some layer is frozen by itself."""
        for layer in self.layers:
            if not layer.trainable:
                raise ValueError(
                    f"{layer!r} is frozen, within a Residual that is trained or frozen as a whole. Set the Residual's "
                    "trainable, and that of its layers to True."
                )

    @property
    def trainable(self) -> bool:
        """Whether the layers and the projection are trained; False freezes them all."""
        self._require_alike()
        return not self._frozen

    @trainable.setter
    def trainable(self, value: bool) -> None:
        Layer.trainable.fset(self, value)  # type: ignore[attr-defined]

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data; the layers within are numbered so that no others have their numbers."""
        first = (index + 1) * PLACES
        if first + PLACES > 1 << 32:
            raise ValueError(
                "Residuals may stand within one another three deep; got more. Put them one after the other."
            )
        pairs = enumerate(zip(self.layers, self._widths, strict=True))
        return ResidualOp(tuple(layer.lower(width, first + i) for i, (layer, width) in pairs))

    def initial_values(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the initial values, flat; layers that were given some while they stood alone keep those."""
        found = []
        for layer in self.layers:
            drawn = layer.initial_values(rng)
            held = layer.held_values() if self._state is None else None
            found.append(drawn if held is None else held)
        if self.n_in != self.n_out:
            projection = self._parameters["projection.weight"]
            found.append(np.asarray(projection.init(projection.shape, rng), np.float64).ravel())
        return np.concatenate(found)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the layers as a model file tells of them."""
        return {"layers": [{"kind": type(layer).__name__, "config": layer.config()} for layer in self.layers]}

    def fresh_copy(self) -> Residual:
        """Return a copy that belongs to no model and holds no arrays."""
        other = super().fresh_copy()
        assert isinstance(other, Residual)
        return other._with_fresh(self.layers)

    def _with_fresh(self, layers: tuple[Layer, ...]) -> Residual:
        self.layers = tuple(layer.fresh_copy() for layer in layers)
        for layer in self.layers:
            layer._owned = True
        return self

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        # The arrays are among the layer's own.
        kept["settings"]["layers"] = tuple(layer.fresh_copy() for layer in self.layers)
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        layers = kept["settings"]["layers"]
        for layer in layers:
            layer._owned = True
        super().__setstate__(kept)

    def _attach(self, state: State, backend: Backend, dtype: str) -> None:
        """Let the arrays of the layers, too, be views into ``state``."""
        super()._attach(state, backend, dtype)
        op, first, first_buffer = self._program().ops[0], 0, 0
        assert isinstance(op, ResidualOp)
        for layer, own in zip(self.layers, op.ops, strict=True):
            last = first + sum(math.prod(shape) for shape in own.shapes)
            last_buffer = first_buffer + sum(math.prod(shape) for shape in own.buffer_shapes)
            part = State(
                parameters=state.parameters[first:last],
                gradients=state.gradients[first:last],
                moments=state.moments[:0],
                buffers=state.buffers[first_buffer:last_buffer],
                dropout_seed=state.dropout_seed,
            )
            layer._attach(part, backend, dtype)
            first, first_buffer = last, last_buffer

    def join(self, state: State, backend: Backend, dtype: str, guard: Any = None) -> None:
        """Belong to a model, with all layers."""
        super().join(state, backend, dtype, guard)
        for layer in self.layers:
            layer._guard = guard

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"
