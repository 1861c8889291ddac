"""The errors that tinynet raises of its own, and its warning: what was expected, what was got, and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TinynetError(Exception):
    """Base class of the errors that are particular to tinynet."""


class BackendUnavailableError(TinynetError, RuntimeError):
    """A backend that was asked for by name cannot run on this machine."""


class DeviceMemoryError(TinynetError, MemoryError):
    """A GPU has no room for what was to be allocated; the message has the sizes, and what helps.

    The model is intact: it holds the weights that it had before the call, or, in ``fit``, those of its last complete
    epoch; the optimizer starts afresh.
    """


class ModelInTrainingError(TinynetError, RuntimeError):
    """A model in training was to be trained, moved or given other weights, by the very thread that trains it.

    From a callback, for instance; nothing is changed then. Another thread waits until the training is over.
    """


class DependencyError(TinynetError, ImportError):
    """An optional package is needed for this feature; the message has the command that installs it."""


class ModelFileError(TinynetError, ValueError):
    """A file is not a model or checkpoint that this version can read."""


class ResumeError(TinynetError, ValueError):
    """A checkpoint is of another training than the one that is to go on from it; nothing is changed.

    Attributes
    ----------
    differences : dict of str to str
        What differs, by its name, in words.
    """

    def __init__(self, message: str, differences: dict[str, str]) -> None:
        super().__init__(message)
        self.differences = differences


class DivergenceError(TinynetError, ArithmeticError):
    """Training produced a loss or parameters that are not finite.

    The model holds the best weights that were seen before (those of the lowest loss).

    Attributes
    ----------
    epoch : int
        The epoch (counted from 0) in which it happened.
    history : History, EnsembleHistory or None
        What was recorded up to then.
    best_weights : list of arrays
        The weights that the model holds now, as ``get_weights`` returns them.
    reason : str
        What happened, without what may help.
    """

    def __init__(
        self, message: str, epoch: int, history: Any, best_weights: list[NDArray[Any]], reason: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason or message
        self.epoch = epoch
        self.history = history
        self.best_weights = best_weights


class RankError(TinynetError, RuntimeError):
    """Another rank of ``fit(comm=...)`` has failed, so training has ended on this one, too.

    The model is as after Ctrl-C: that of the last whole epoch.

    Attributes
    ----------
    rank : int
        The first one that failed.
    """

    def __init__(self, message: str, rank: int) -> None:
        super().__init__(message)
        self.rank = rank


class ScaleWarning(UserWarning):
    """Data of ``fit`` are far from unit size, and no layer scales them: a network will hardly learn them.

    ``Normalize`` as the first layer scales the samples, ``Denormalize`` as the last one the targets. The estimators,
    whose users scale by a pipeline, do not warn.
    """


def requires(package: str, feature: str, command: str) -> DependencyError:
    """Word the error for an optional package that is not installed."""
    return DependencyError(f"{feature} needs the package {package}, which is not installed. Get it by: {command}")
