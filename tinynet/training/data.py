"""Data: samples, targets and weights, checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.standardising import begins_standardising, shared_columns, standardised, target_columns
from tinynet.base.arrays import check_finite, numpy_namespace, on_disk
from tinynet.base.checks import number
from tinynet.base.warned import warn_caller
from tinynet.losses import Loss, as_weights
from tinynet.program import Program


@dataclass
class Data:
    """Checked samples, with their targets and weights, where ``backend`` reads them.

    Attributes
    ----------
    weight : array or None
        Factor of each sample's loss: while training with those of classes and of bootstrap samples.
    sample_weight : array or None
        The factors alone that the user gave for the samples. Metrics go by them.
    dtype : str or None
        In which metrics see targets that lie on disk in another; None: as they are.
    given : array or None
        The samples as they were, where ``x`` is what the first layer makes of them.
    y_given : array or None
        The targets as they were, where ``y`` is standardised, then float64, or smoothed.
    n_values : int or None
        How many columns of ``y`` are values of the outputs, where derivatives by the inputs follow; None: all are.
    """

    backend: Backend
    x: Array
    y: Array
    weight: Array | None = None
    _y_host: NDArray[Any] | None = None
    sample_weight: Array | None = None
    dtype: str | None = None
    given: Array | None = None
    y_given: Array | None = None
    n_values: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, start: int, stop: int) -> Data:
        """Return a range of rows, without a copy but of weights that each model has for itself."""
        weight = None if self.weight is None else self.weight[..., start:stop]
        if weight is not None and weight.ndim == 2:
            weight = self.backend.asarray(weight)
        own = None if self.sample_weight is None else self.sample_weight[..., start:stop]
        y_host = None if self._y_host is None else self._y_host[start:stop]
        given = None if self.given is None else self.given[start:stop]
        y_given = None if self.y_given is None else self.y_given[start:stop]
        x, y = self.x[start:stop], self.y[start:stop]
        return Data(self.backend, x, y, weight, y_host, own, self.dtype, given, y_given, self.n_values)

    @property
    def standardised(self) -> bool:
        """Whether the samples have gone through the first layer already."""
        return self.given is not None

    @property
    def streamed(self) -> bool:
        """Whether the data stay in host memory and go to the backend in chunks."""
        return numpy_namespace(self.x) is not self.backend.namespace

    @property
    def y_host(self) -> NDArray[Any]:
        """The values in host memory, in their own units, for metrics; brought there once, when somebody first asks."""
        if self._y_host is None:
            host = self.backend.to_numpy(self.y if self.y_given is None else self.y_given)
            if self.n_values is not None:
                host = host[:, : self.n_values]
            own = on_disk(host) or self.y_given is not None
            dtype = self.dtype if host.dtype.kind == "f" else None  # Class numbers stay whole.
            self._y_host = np.ascontiguousarray(host, dtype) if own else host
        return self._y_host

    def standardise_targets(self, columns: tuple[Array, Array]) -> None:
        """Standardise the targets by other columns than they were, in place."""
        assert self.y_given is not None
        y = standardised(self.backend, self.y_given, columns, str(self.y.dtype))
        self.y[...] = y if self.streamed else self.backend.asarray(y)

    @property
    def sample_weight_host(self) -> NDArray[Any] | None:
        """The user's weights in host memory, for metrics."""
        return None if self.sample_weight is None else self.backend.to_numpy(self.sample_weight)


def checked_data(
    samples: Array,
    y: Any,
    loss: Loss,
    n_out: int,
    dtype: str,
    backend: Backend,
    sample_weight: Any = None,
    *,
    columns: tuple[Array, Array] | None = None,
) -> Data:
    """Return samples with the targets and weights that go with them, where the backend reads them.

    With ``columns``, the means and scales of the targets, these are standardised in float64 before they are rounded.

    Raises
    ------
    ValueError, TypeError
        If anything does not fit to the loss or to the samples.
    """
    given = None
    if loss.takes_slopes and isinstance(y, tuple | list):
        y = tuple(backend.admit(part, name) for part, name in zip(y, ("y", "dy"), strict=False))
    else:
        y = backend.admit(y, "y")
    if columns is None:
        targets = loss.check_target(y, n_out, dtype)
        taught = loss.taught_target(targets, n_out, dtype)
        given, targets = None if taught is targets else targets, taught
    else:
        refuse_standardised(loss)
        given = loss.check_target(y, n_out, "float64")
        targets = standardised(backend, given, columns, dtype)
        xp = numpy_namespace(targets)
        known = xp.where(xp.isnan(targets), 0.0, targets) if loss.ignores_missing else targets
        check_finite(known, "y, standardised by Denormalize,")
    if len(samples) != len(targets):
        raise ValueError(
            f"x and y must have as many samples as each other; got {len(samples)} and {len(targets)}. "
            "Check that no rows were dropped from one of them only."
        )
    n_values = None
    if loss.takes_slopes:
        n_values, n_in = n_out, targets.shape[1] // n_out - 1
        if n_in != samples.shape[1]:
            raise ValueError(
                f"dy must have a derivative by each of {samples.shape[1]} inputs; got {n_in} of them. Compare the "
                "columns of x and the last axis of dy."
            )
    weight = None
    if sample_weight is not None:
        weight = as_weights(backend.admit(sample_weight, "sample_weight"), len(samples), dtype)
        refuse_weights(loss)
    plain = given is None and n_values is None and isinstance(targets, np.ndarray) and not on_disk(targets)
    y_host = targets if plain else None
    x, y, weight = backend.hold(x=samples, y=targets, sample_weight=weight)
    return Data(backend, x, y, weight, y_host, weight, dtype, y_given=given, n_values=n_values)


def standardise(sets: Sequence[Data | None], program: Program, state: State) -> None:
    """Let the samples of a training go through a first layer that standardises them, once, where all lie in memory.

    Called again, it does so by the columns that the layer has then.

    Raises
    ------
    ValueError
        If they do not fit into the model's dtype then.
    """
    some = [data for data in sets if data is not None]
    if not begins_standardising(program) or any(on_disk(data.x) for data in some):
        return
    columns = shared_columns(program, state)
    if columns is None:
        return
    for data in some:
        given = data.x if data.given is None else data.given
        x = standardised(data.backend, given, columns, program.dtype)
        check_finite(x, "x, with its columns standardised,")
        data.x, data.given = x, given


def standardise_targets(sets: Sequence[Data | None], program: Program, state: State) -> None:
    """Standardise the targets of a training again, by the columns that its model has now."""
    for data in sets:
        if data is None:
            continue
        columns = target_columns(program, data.backend, state, slopes=data.n_values is not None)
        if columns is not None:
            data.standardise_targets(columns)


def refuse_standardised(loss: Loss) -> None:
    """Raise ValueError for a loss that standardised targets mean nothing to."""
    if not loss.takes_standardised:
        raise ValueError(
            f"{type(loss).__name__} expects targets as they are; a network that ends in Denormalize takes its loss on "
            "standardised ones. Leave Denormalize out, or take a loss of numbers, for instance 'mse'."
        )


def refuse_weights(loss: Loss) -> None:
    """Raise ValueError for a loss of the user's that takes no weights."""
    if loss.is_custom and not loss.takes_sample_weight:
        raise ValueError(
            f"{type(loss).__name__} takes no sample weights. Give its forward and backward a third argument "
            "sample_weight, and set takes_sample_weight = True."
        )


def check_some_weight(weight: NDArray[Any], name: str) -> None:
    """Raise ValueError if all weights are 0, of one model or of any: nothing would be learned, without a word."""
    for model, own in enumerate(np.atleast_2d(weight)):
        if not own.any():
            whose = f" for model {model}" if weight.ndim == 2 else ""
            raise ValueError(f"{name} must not be all zero; got 0 for each of {len(own)} samples{whose}. Raise some.")


SPLIT = ("trains on", "holds out")
"""What a split does with each of its parts."""


def n_left(n: int, share: float) -> int:
    """Return how many of ``n`` samples are trained on, where a share of them is held out.

    Raises
    ------
    ValueError
        If there is none.
    """
    left = n - max(1, round(n * share))
    if left < 1:
        raise ValueError(f"validation_split={share:g} leaves none of {n} samples to train on. Lower it.")
    return left


def split_data(data: Data, share: float) -> tuple[Data, Data]:
    """Hold out a share of the samples from the end: return what to train on, and what is held out."""
    n = n_left(len(data), share)
    parts = data.part(0, n), data.part(n, len(data))
    if data.weight is not None:
        for part, does in zip(parts, SPLIT, strict=True):
            check_some_weight(data.backend.to_numpy(part.weight), f"sample_weight of what validation_split {does}")
    _warn_of_sorted_classes(data.y if data._y_host is None else data._y_host, n)
    return parts


def _warn_of_sorted_classes(y: Array, n: int) -> None:
    """Warn of class numbers, or a column of 0 and 1, that rise all along: then the first ``n`` are of other classes.

    Targets that came on a device, or lie on a disk, are not looked at.
    """
    if not isinstance(y, np.ndarray) or on_disk(y) or (y.ndim == 2 and y.shape[1] > 1):
        return
    classes = y.ravel()
    if classes[0] == classes[-1] or (classes[1:] < classes[:-1]).any():
        return
    if classes.dtype.kind == "f" and not np.isin(classes, (0.0, 1.0)).all():
        return
    held, every = len(np.unique(classes[n:])), len(np.unique(classes))
    if held < every:
        warn_caller(
            f"validation_split holds out the samples at the end, and y is sorted by class: they are of {held} of "
            f"{every} classes. Shuffle before: order = np.random.default_rng(0).permutation(len(x)); x, y = x[order], "
            "y[order]."
        )


def with_validation(
    data: Data,
    checked: Callable[..., Data],
    validation_data: Any,
    validation_split: float,
    split: Callable[[Data, float], tuple[Data, Data]] = split_data,
) -> tuple[Data, Data | None]:
    """Return what to train on, and what to validate on: other data, a share of these, or nothing.

    Parameters
    ----------
    data : Data
        All that there is to train on.
    checked : callable
        ``checked(x, y, sample_weight)`` returns validation data as checked ones; the last argument may be missing.
    validation_data, validation_split
        As ``fit`` was given them.
    split : callable, optional
        What holds out a share of the samples.
    """
    if validation_data is None:
        if not validation_split:
            return data, None
        return split(data, number("validation_split", validation_split, above=0.0, below=1.0))
    if validation_split:
        raise ValueError("fit expects validation_data or validation_split, not both. Drop one of them.")
    given = checked_validation(validation_data)
    try:
        return data, checked(*given)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation_data: {error}") from error


def checked_validation(given: Any) -> tuple[Any, ...]:
    """Return validation data as ``(x, y)`` or ``(x, y, sample_weight)``, or say what it should be."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight); got {type(given).__name__}.")
    return tuple(given)
