"""Data: samples, targets and weights, checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend
from tinynet.base.arrays import numpy_namespace
from tinynet.base.checks import number
from tinynet.losses import Loss, as_weights


@dataclass
class Data:
    """Checked samples, with their targets and weights, where ``backend`` reads them."""

    backend: Backend
    x: Array
    y: Array
    weight: Array | None = None
    _y_host: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, start: int, stop: int) -> Data:
        """Return a range of rows, without a copy but of weights that each model has for itself."""
        weight = None if self.weight is None else self.weight[..., start:stop]
        if weight is not None and weight.ndim == 2:
            weight = self.backend.asarray(weight)
        y_host = None if self._y_host is None else self._y_host[start:stop]
        return Data(self.backend, self.x[start:stop], self.y[start:stop], weight, y_host)

    @property
    def streamed(self) -> bool:
        """Whether the data stay in host memory and go to the backend in chunks."""
        return numpy_namespace(self.x) is not self.backend.namespace

    @property
    def y_host(self) -> NDArray[Any]:
        """The targets in host memory, for metrics; brought there once, when somebody first asks."""
        if self._y_host is None:
            self._y_host = self.backend.to_numpy(self.y)
        return self._y_host


def checked_data(
    samples: Array,
    y: Any,
    loss: Loss,
    n_out: int,
    dtype: str,
    backend: Backend,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
) -> Data:
    """Return samples with the targets and weights that go with them, where the backend reads them.

    Raises
    ------
    ValueError, TypeError
        If anything does not fit to the loss or to the samples.
    """
    targets = loss.check_target(backend.admit(y, "y"), n_out, dtype)
    if len(samples) != len(targets):
        raise ValueError(
            f"x and y must have as many samples as each other; got {len(samples)} and {len(targets)}. "
            "Check that no rows were dropped from one of them only."
        )
    weight = None
    if sample_weight is not None:
        weight = as_weights(backend.admit(sample_weight, "sample_weight"), len(samples), dtype)
    y_host = backend.to_numpy(targets) if class_weight is not None or isinstance(targets, np.ndarray) else None
    if class_weight is not None:
        assert y_host is not None
        factors = _class_weights(y_host, class_weight).astype(dtype)
        weight = factors if weight is None else backend.to_numpy(weight) * factors
    if weight is not None and loss.is_custom and not loss.takes_sample_weight:
        raise ValueError(
            f"{type(loss).__name__} takes no sample weights. Give its forward and backward a third argument "
            "sample_weight, and set takes_sample_weight = True."
        )
    x, y, weight = backend.hold(x=samples, y=targets, sample_weight=weight)
    return Data(backend, x, y, weight, y_host)


def split_data(data: Data, share: float) -> tuple[Data, Data]:
    """Hold out a share of the samples from the end: return what to train on, and what is held out."""
    n = len(data) - max(1, round(len(data) * share))
    if n < 1:
        raise ValueError(f"validation_split={share:g} leaves none of {len(data)} samples to train on. Lower it.")
    return data.part(0, n), data.part(n, len(data))


def with_validation(
    data: Data, checked: Callable[..., Data], validation_data: Any, validation_split: float
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
    """
    if validation_data is None:
        if not validation_split:
            return data, None
        return split_data(data, number("validation_split", validation_split, above=0.0, below=1.0))
    if validation_split:
        raise ValueError("fit expects validation_data or validation_split, not both. Drop one of them.")
    return data, checked(*checked_validation(validation_data))


def checked_validation(given: Any) -> tuple[Any, ...]:
    """Return validation data as ``(x, y)`` or ``(x, y, sample_weight)``, or say what it should be."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight); got {type(given).__name__}.")
    return tuple(given)


def _class_weights(targets: NDArray[Any], class_weight: Mapping[int, float] | str) -> NDArray[np.float64]:
    """Return the weight of each sample's class."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        labels = targets.argmax(axis=1)
    else:
        labels = targets.reshape(-1).astype(np.int64)
        if not (labels == targets.reshape(-1)).all():
            raise ValueError("class_weight expects targets that are classes; got values that are not whole numbers.")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced'; got {class_weight!r}.")
        counts = np.bincount(labels)
        present = np.count_nonzero(counts)
        balanced: NDArray[np.float64] = len(labels) / (present * counts[labels].astype(np.float64))
        return balanced
    factors = np.ones(len(labels))
    found = set(np.unique(labels).tolist())
    for label, factor in class_weight.items():
        if label not in found:
            raise ValueError(f"class_weight names the class {label!r}; y has {sorted(found)}.")
        factors[labels == label] = number(f"class_weight[{label!r}]", factor, at_least=0.0)
    return factors
