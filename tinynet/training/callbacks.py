"""Callbacks: what hooks into the fit loop. The names of the hooks are Keras's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tinynet.backends.compiling import watched
from tinynet.base.checks import member
from tinynet.base.hints import Hinting, did_you_mean
from tinynet.training.logs import Logs

if TYPE_CHECKING:
    from tinynet.training.trainable import Trainable
    from tinynet.training.trainer import Trainer


class Callback(Hinting):
    """Base class. Override the hooks that you need.

    Attributes
    ----------
    model : Sequential
        The model that is trained, or the Ensemble: then figures in ``logs`` are (n_models,) arrays, NaN for models that
        have stopped. ``model.stop_training = True`` ends training after this epoch.
    trainer : Trainer
    looks_every : int or None
        After this many epochs the callback needs to see the model as it is. Between two looks several epochs run in one
        call, and their hooks are called afterwards, with the right logs. None: it reads only logs. Where it then ends
        training, or raises an error, the model goes back to the epoch that the hook was called for.
    reads_gradients : bool
        Whether hooks on single updates read the gradients of the layers. Where none does, updates run as whole epochs
        do, and the gradients are left as they were.
    first_rank_only : bool
        Whether it only shows or writes what it sees: of ``fit(comm=...)`` the first rank alone has it.
    """

    looks_every: int | None = 1
    reads_gradients = True
    first_rank_only = False
    model: Trainable
    trainer: Trainer

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a method that looks like a hook and would never be called.

        Raises
        ------
        TypeError
            If one is named nearly as a hook is.
        """
        super().__init_subclass__(**options)
        for name in vars(cls):
            meant = did_you_mean(name, HOOKS) if name.startswith("on_") and name not in HOOKS else ""
            if meant:
                raise TypeError(f"{cls.__name__}.{name} would never be called: there is no such hook.{meant}")

    def on_train_begin(self, logs: Logs) -> None:
        """Run before the first epoch."""

    def on_train_end(self, logs: Logs) -> None:
        """Run after the last epoch, also when training is interrupted or fails."""

    def on_compile(self, what: str) -> None:
        """Run before a compiler is loaded, or makes code that is not there yet, where that takes tenths of a second.

        ``what`` is a text that tells people what there is to wait for.
        """

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after an epoch with its figures."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """Run before an update. Overriding this makes training run one update at a time."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Run after an update with its loss. Overriding this makes training run one update at a time."""

    def settings(self) -> dict[str, Any]:
        """Return what makes a training with this callback another one than with others of its class, as JSON holds it.

        A checkpoint keeps the settings of callbacks that have a ``state``, and is refused where they differ.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep: numbers, strings, lists and NumPy arrays by name."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept, after ``on_train_begin``; raise ValueError if it cannot be taken.

        It is tried on a copy of the callback before anything is changed.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy carry: not the training that the callback belongs to."""
        return {name: value for name, value in self.__dict__.items() if name not in ("model", "trainer")}

    @property
    def wants_batches(self) -> bool:
        """Whether a hook on single updates is overridden."""
        hooks = ("on_train_batch_begin", "on_train_batch_end")
        return any(getattr(type(self), hook) is not getattr(Callback, hook) for hook in hooks)


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
"""The names of all hooks."""


@contextmanager
def told(callbacks: Iterable[Callback], history: Any) -> Iterator[None]:
    """Let callbacks hear what is compiled in a ``with`` block, and a history how long that took."""

    def tell(what: str) -> None:
        for callback in callbacks:
            callback.on_compile(what)

    with watched(tell) as watch:
        try:
            yield
        finally:
            history.compile_seconds += watch.seconds


@contextmanager
def acting(callbacks: Iterable[Callback], model: Any, trainer: Any) -> Iterator[None]:
    """Let callbacks begin, and in the end, whatever happens, let those end that have begun.

    What is compiled between the two, they are told.
    """
    begun: list[Callback] = []
    try:
        for callback in callbacks:
            callback.model, callback.trainer = model, trainer
            callback.on_train_begin({})
            begun.append(callback)
        with told(begun, trainer.history):
            yield
    finally:
        for callback in begun:
            callback.on_train_end({})


class LambdaCallback(Callback):
    """Hooks from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs["loss"]))``.

    Parameters
    ----------
    hooks : callables by the name of the hook
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, hook in hooks.items():
            member("hook", name, HOOKS)
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects a function for {name}; got {hook!r}.")
            setattr(self, name, hook)
        self._batches = any("batch" in name for name in hooks)

    @property
    def wants_batches(self) -> bool:
        """Whether a hook on single updates was given."""
        return self._batches
