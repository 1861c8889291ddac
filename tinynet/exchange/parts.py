"""Parts: a network as files and formats know it. Models take themselves apart, and are built of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet import layers
from tinynet.base.frozen import dataclass
from tinynet.layers import Layer, Residual
from tinynet.losses import Loss


@dataclass(frozen=True)
class Parts:
    """A network taken apart.

    Attributes
    ----------
    layers : tuple of Layer
    dtype : {"float32", "float64"}
    arrays : tuple of dict of str to array
        Of each layer its stored arrays by name, in host memory.
    loss : Loss or None
        Of the last ``fit``.
    metadata : dict
        Notes that JSON can hold.
    """

    layers: tuple[Layer, ...]
    dtype: str
    arrays: tuple[dict[str, NDArray[Any]], ...]
    loss: Loss | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def named(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by the names that they have in files."""
        return {f"layer{i}.{name}": array for i, held in enumerate(self.arrays) for name, array in held.items()}

    def trained(self) -> NDArray[Any]:
        """Return the trained arrays as one flat vector, in the order of a model's."""
        return flat_values(self.layers, self.arrays)


def flat_values(layers: Sequence[Layer], arrays: Sequence[dict[str, NDArray[Any]]]) -> NDArray[Any]:
    """Return the trained arrays of layers as one flat vector, in the order of a model's."""
    pairs = zip(layers, arrays, strict=True)
    named = [held[name].ravel() for layer, held in pairs for name in layer.trainable_names]
    return np.concatenate(named or [np.empty(0)])


def refuse_infinite(arrays: Mapping[str, NDArray[Any]], who: str) -> None:
    """Raise ValueError if weights are not finite, which no model is given by ``set_weights`` or a file.

    Examples
    --------
    >>> refuse_infinite({"layer0.weight": np.ones((2, 1))}, "save")
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{who} expects finite weights; those of {name} are not. Train the network anew.")


def refuse_layers(parts: Parts, known: Collection[str], who: str) -> None:
    """Raise NotImplementedError if a layer's class is none of those by name that a format knows.

    Examples
    --------
    >>> refuse_layers(Parts((layers.Linear(1, 1),), "float32", ({},)), {"Linear"}, "to_torch")
    """
    # A subclass may compute something else.
    own = {name: getattr(layers, name, None) for name in known}
    every = list(_with_inner(parts.layers))
    unknown = [repr(layer) for layer in every if own.get(type(layer).__name__) is not type(layer)]
    if unknown:
        raise NotImplementedError(
            f"{who} cannot write {', '.join(unknown)}. It knows {', '.join(known)}; to_onnx() knows formulas, too."
        )
    several = [repr(layer) for layer in parts.layers if not isinstance(getattr(layer, "rate", 0.0), float | int)]
    if several:
        raise NotImplementedError(f"{who} expects one network; {', '.join(several)} is of an ensemble.")


def _with_inner(row: Iterable[Layer]) -> Iterator[Layer]:
    """Yield layers, and after each those within it."""
    for layer in row:
        yield layer
        if isinstance(layer, Residual):
            yield from _with_inner(layer.layers)
