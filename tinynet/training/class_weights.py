"""Class weights: a factor for each class, which multiplies the loss of its samples while training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.base.arrays import convert
from tinynet.base.checks import number
from tinynet.losses import Loss
from tinynet.program import Program
from tinynet.training.data import Data, check_some_weight, refuse_weights

ClassWeight = Mapping[int, float] | str | None
"""A factor for each class by its number, "balanced", or None."""


def with_class_weights(
    data: Data, class_weight: ClassWeight, loss: Loss, program: Program, team: Alone = ALONE
) -> Data:
    """Return data to train on whose weights have the factors of their classes; metrics do not see these.

    Parameters
    ----------
    data : Data
        All that is trained on, and nothing that is held out: "balanced" counts what it is given.
    class_weight : dict of int to float, "balanced", or None
    loss : Loss
        It tells what the class of a sample is.
    program : Program
        Of the network.
    team : Team, optional
        Who else trains: classes are counted in the samples of all.

    Raises
    ------
    TypeError, ValueError
        If the targets are no classes, or the weights are none, or leave nothing to train on.
    """
    if class_weight is None:
        return data
    if not isinstance(class_weight, str | Mapping):
        raise TypeError(
            "class_weight must be a dict of a factor for each class, such as {0: 1.0, 1: 5.0}, or 'balanced'; got "
            f"{type(class_weight).__name__}. A list becomes one by dict(enumerate(weights))."
        )
    refuse_weights(loss)
    if loss.ignores_missing and np.isnan(data.y_host).any():
        raise ValueError("class_weight expects the class of each sample; got NaN in y. Leave such rows out.")
    labels, classes = _labels(data.y_host, loss, program)
    counts = team.counted(labels)
    factors = _factors(labels, classes or list(counts), class_weight, program.dtype, counts)
    name = "class_weight"
    if data.weight is not None:
        name, factors = "class_weight times sample_weight", data.backend.to_numpy(data.weight) * factors
    weight = convert(factors, name, program.dtype)
    check_some_weight(weight, name)
    return replace(data, weight=weight if data.streamed else data.backend.asarray(weight))


def _labels(target: NDArray[Any], loss: Loss, program: Program) -> tuple[NDArray[np.int64], list[int]]:
    """Return the class of each sample, and the classes that there may be; none where the data alone can tell."""
    meaning, n_out, name = loss.meaning(target, program.ops), program.n_out, type(loss).__name__
    if meaning.target == "classes":
        if target.ndim == 2 and not ((target == 0) | (target == 1)).all():
            raise ValueError(
                "class_weight expects one class for each sample; got rows of probabilities. Pass class numbers or "
                "one-hot rows, or weigh the samples by sample_weight."
            )
        classes: NDArray[np.int64] = meaning.truth(target)
        return classes, list(range(n_out))
    if n_out > 1:
        what = f"several labels, as {name} takes the columns" if meaning.target == "labels" else "several numbers"
        raise ValueError(
            f"class_weight expects one class for each sample; got {what} of y. Weigh the samples by sample_weight, or "
            "train on loss='cross_entropy' if the columns are classes that exclude each other."
        )
    column, limit = target[:, 0], 2 ** (np.finfo(program.dtype).nmant + 1)
    if meaning.target == "labels":
        if not ((column == 0) | (column == 1)).all():
            raise ValueError("class_weight expects classes 0 and 1; got probabilities between them. Use sample_weight.")
        return column.astype(np.int64), [0, 1]
    if np.abs(column).max() > limit:
        raise ValueError(
            f"class_weight expects class numbers up to {limit}, which {program.dtype} tells apart; got "
            f"{column[np.abs(column).argmax()]:g}. Number the classes from 0."
        )
    if not (column == np.rint(column)).all():
        raise ValueError(
            f"class_weight expects classes; to {name} the targets are numbers, and "
            f"{column[column != np.rint(column)][0]:g} is not whole. Weigh the samples by sample_weight."
        )
    return column.astype(np.int64), []


def _factors(
    labels: NDArray[np.int64],
    classes: list[int],
    class_weight: Mapping[int, float] | str,
    dtype: str,
    counts: dict[int, int],
) -> NDArray[np.float64]:
    """Return the factor of each sample's class."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced'; got {class_weight!r}.")
        sizes = np.array(list(counts.values()))
        balanced: NDArray[np.float64] = sizes.sum() / (len(sizes) * sizes)
        return balanced[np.searchsorted(list(counts), labels)]
    factors = np.ones(len(labels))
    for label, value in class_weight.items():
        if label not in classes:
            shown = ", ".join(map(str, classes[:10])) + ", ..." * (len(classes) > 10)
            raise ValueError(f"class_weight names the class {label!r}; y has the classes {shown}. Name one of them.")
        factor = number(f"class_weight[{label!r}]", value, at_least=0.0)
        if factor > float(np.finfo(dtype).max):
            raise ValueError(
                f"class_weight[{label!r}] must fit into {dtype}; got {factor:g}. Scale the weights: a mean of 1 leaves "
                "the learning rate as it is."
            )
        factors[labels == label] = factor
    return factors
