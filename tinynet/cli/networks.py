"""Networks for data: which layers, which loss, and the scales of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member
from tinynet.base.frozen import dataclass
from tinynet.datasets.table import Table
from tinynet.datasets.targets import Label
from tinynet.layers import (
    Denormalize,
    Dropout,
    Embedding,
    Exp,
    Increasing,
    Linear,
    MeanVariance,
    Normalize,
    Sigmoid,
    Softmax,
    get_activation,
)
from tinynet.layers.layer import Layer
from tinynet.losses import BinaryCrossEntropy, BinaryFocal, CategoricalFocal, CrossEntropy, Loss, get_loss
from tinynet.models.sequential import Sequential

LOSSES_OF_CLASSES: dict[str, tuple[type[Layer] | None, Callable[..., Loss]]] = {
    "cross_entropy": (Softmax, partial(CrossEntropy, from_logits=False)),
    "bce": (Sigmoid, BinaryCrossEntropy),
    "binary_cross_entropy": (Sigmoid, BinaryCrossEntropy),
    "focal": (None, BinaryFocal),
    "categorical_focal": (None, CategoricalFocal),
}
"""For each loss on classes: how the network ends, so that it predicts probabilities or their logits, and the loss."""

LOSSES_OF_NUMBERS: dict[str, Callable[[int, Loss], Layer | None]] = {
    **dict.fromkeys(("mse", "mae", "huber", "log_cosh"), lambda n, loss: None),
    "poisson": lambda n, loss: Exp(),
    "quantile": lambda n, loss: Increasing(len(loss.powers), n) if len(loss.powers) > 1 else None,
    "gaussian_nll": lambda n, loss: MeanVariance(n),
}
"""The losses on numbers, and what a network of so many targets ends in after its last linear layer."""


@dataclass(frozen=True)
class Head:
    """How a network ends: its width, its last activation if any, and its loss.

    Attributes
    ----------
    scales : bool
        Whether a layer follows that scales targets, which are numbers.
    """

    n_out: int
    activation: Layer | None
    loss: Loss
    scales: bool = False

    def scaling(self, y: NDArray[Any], missing_targets: str) -> Denormalize | None:
        """Return the layer that scales such targets; None where they are learned as they are."""
        if not self.scales:
            return None
        return Denormalize(y.shape[1], self.loss.powers).adapt(y, missing_targets=missing_targets)

    def with_activation(self, name: str) -> Head:
        """Return the same head, ending in an activation."""
        return replace(self, activation=get_activation(name), scales=False)


def head_for(
    loss: str,
    classes: tuple[Label, ...] | None,
    n_targets: int,
    quantiles: Sequence[float] | None = None,
    label_smoothing: float | None = None,
) -> Head:
    """Return the end of a network for classes, or for numbers where ``classes`` is None.

    Parameters
    ----------
    loss : str
    classes : tuple or None
    n_targets : int
    quantiles : sequence of float, optional
        Those of the loss "quantile": one, or several at once.
    label_smoothing : float, optional
        Of the cross-entropies.

    Raises
    ------
    ValueError
        If the loss is not for such targets.

    Examples
    --------
    >>> head_for("auto", ("no", "yes"), 1)
    Head(n_out=2, activation=Softmax(), loss=CrossEntropy(from_logits=False, reduction='mean'), scales=False)
    """
    if classes is None:
        name = member("--loss for targets that are numbers", "mse" if loss == "auto" else loss, LOSSES_OF_NUMBERS)
        _require("--label-smoothing", label_smoothing, "classes", False)
        _require("--quantiles", quantiles, "--loss quantile", name == "quantile")
        several = quantiles is not None and len(quantiles) > 1
        chosen = get_loss(name, **({"q": quantiles if several else quantiles[0]} if quantiles else {}))
        ending = LOSSES_OF_NUMBERS[name](n_targets, chosen)
        return Head(n_targets * len(chosen.powers), ending, chosen, chosen.takes_standardised)
    name = "cross_entropy" if loss == "auto" else loss
    activation, made = LOSSES_OF_CLASSES[member("--loss for classes", name, LOSSES_OF_CLASSES)]
    _require("--quantiles", quantiles, "--loss quantile, of numbers", False)
    _require("--label-smoothing", label_smoothing, "a cross-entropy", "focal" not in name)
    of_each = name in ("cross_entropy", "categorical_focal")
    if not of_each and len(classes) != 2:
        raise ValueError(f"--loss {name} expects two classes; got {len(classes)}. Use cross_entropy.")
    smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
    last = None if activation is None else activation()
    return Head(len(classes) if of_each else 1, last, made(**smoothing))


def _require(option: str, value: Any, what: str, fits: bool) -> None:
    if value is not None and not fits:
        raise ValueError(f"{option} is for {what}; got another. Leave it out.")


def first_layers(x: NDArray[Any], table: Table | None) -> list[Layer]:
    """Return what standardises ``x``, and turns levels in it into vectors where a table has such columns."""
    if table is None or table.embedding is None:
        return [normalizer(x)]
    return [Normalize(x.shape[1], columns=table.scaled).adapt(x), Embedding(**table.embedding)]


def normalizer(x: NDArray[Any]) -> Normalize:
    """Return a layer that standardises ``x``.

    Bytes are pixels: they share one mean and one scale, for a pixel that is black in nearly all images has next to no
    deviation of its own, and dividing by it would blow up the few where it is not.
    """
    layer = Normalize(x.shape[1])
    if x.dtype != np.uint8:
        return layer.adapt(x)
    values, counts = np.unique(x, return_counts=True)
    mean = np.average(values, weights=counts)
    scale = np.sqrt(np.average((values - mean) ** 2, weights=counts)) or 1.0
    return layer.adapt(np.vstack([np.full(x.shape[1], mean - scale), np.full(x.shape[1], mean + scale)]))


def build(
    first: Sequence[Layer],
    n_in: int,
    widths: Sequence[int],
    activation: str,
    head: Head,
    dropout: float | None = None,
    last: Layer | None = None,
    **options: Any,
) -> Sequential:
    """Return a network: what comes first, a hidden layer for each of ``widths``, the head, and what comes last.

    With ``dropout``, a layer of that rate follows each hidden layer.
    """
    layers, n = list(first), first[-1].n_out or n_in if first else n_in
    for width in widths:
        layers += [Linear(n, width), get_activation(activation)]
        layers += [] if dropout is None else [Dropout(dropout)]
        n = width
    layers.append(Linear(n, head.n_out))
    return Sequential(*layers, *(layer for layer in (head.activation, last) if layer is not None), **options)
