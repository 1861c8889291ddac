"""What ``fit`` is given, checked; of one model and of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynet.base.checks import whole
from tinynet.base.hints import instance_meant
from tinynet.base.warned import warn_caller
from tinynet.optimizers import Optimizer
from tinynet.program import Program
from tinynet.training.callbacks import Callback
from tinynet.training.progress import ProgressBar

USUAL_BATCH = 32
"""Samples of an update, where nobody says how many."""


def checked_batch_size(batch_size: int | None, optimizer: Optimizer, n_samples: int) -> int:
    """Return how many samples an update takes: ``USUAL_BATCH`` or all by default, and never more than there are.

    Raises
    ------
    ValueError
        If an optimizer that takes all samples is given fewer.
    """
    if batch_size is None:
        return n_samples if optimizer.takes_all_samples else min(USUAL_BATCH, n_samples)
    size = min(whole("batch_size", batch_size), n_samples)
    if optimizer.takes_all_samples and size < n_samples:
        raise ValueError(
            f"{type(optimizer).__name__} compares the loss of all samples before and after a step, so it expects no "
            f"batches; got batch_size={batch_size} for {n_samples} samples. Leave batch_size out, or use tn.Adam."
        )
    return size


def checked_shuffle(shuffle: Any) -> bool | str:
    """Return what ``fit`` was given for ``shuffle``, or say what it may be."""
    if shuffle in (True, False) or shuffle == "replacement":
        return shuffle if isinstance(shuffle, str) else bool(shuffle)
    raise ValueError(f"shuffle must be True, False or 'replacement'; got {shuffle!r}.")


def checked_callbacks(callbacks: Any, verbose: int = 0) -> list[Callback]:
    """Return a list of callbacks from one or several, and of what shows progress, or say what they should be."""
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2; got {verbose!r}.")
    if isinstance(callbacks, Callback):
        callbacks = [callbacks]
    if isinstance(callbacks, type):
        callbacks = [callbacks]
    if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a list of Callback objects; got {callbacks!r}.")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must be Callback objects; got {callback!r}."
                + (instance_meant(callback, Callback) or " Subclass tinynet.Callback.")
            )
    return [*callbacks, *([ProgressBar(every_epoch=verbose == 2)] if verbose else [])]


def warn_if_nothing_is_trained(program: Program) -> None:
    """Warn of a training that changes nothing, since every layer that has parameters is frozen."""
    if program.n_parameters and not program.n_trained:
        warn_caller(
            "fit expects a layer that is trainable; every layer with parameters is frozen, so nothing is trained. Set "
            "layer.trainable = True for some."
        )


def reason_of(error: BaseException) -> str | None:
    """Return why a training ended that was ended by what is no error of its own."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else None
