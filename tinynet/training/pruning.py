"""Pruning: Optuna ends a training that goes worse than those before it."""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import whole
from tinynet.base.errors import requires
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs


class OptunaPruning(Callback):
    """Report a figure of each epoch to an Optuna trial, and end the training when its study prunes it.

    ``fit`` then raises ``optuna.TrialPruned``, which Optuna expects of an objective. ``examples/optuna_pruning.py``
    shows a whole search.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str
        "val_loss", "loss", or a metric's name.
    every : int
        Epochs between two reports.

    Raises
    ------
    DependencyError
        If optuna is not installed.
    TypeError
        If ``trial`` is no trial, or, before training, if the model is an ensemble.
    ValueError
        When an epoch ends, if the training does not report ``monitor``.

    Examples
    --------
    >>> import optuna, tinynet as tn
    >>> trial = optuna.trial.FixedTrial({})
    >>> len(tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[OptunaPruning(trial, "loss")]))
    1
    """

    def __init__(self, trial: Any, monitor: str = "val_loss", every: int = 1) -> None:
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise requires("optuna", "OptunaPruning", "pip install optuna") from error
        if not (hasattr(trial, "report") and hasattr(trial, "should_prune")):
            raise TypeError(f"OptunaPruning expects the trial that Optuna hands to the objective; got {trial!r}.")
        self.trial, self.monitor, self.every = trial, monitor, whole("every", every)
        self.looks_every = self.every
        self._pruned = TrialPruned

    def on_train_begin(self, logs: Logs) -> None:
        """Refuse many models: a trial has one figure."""
        if self.model.program.n_models is not None:
            raise TypeError(
                "OptunaPruning expects a Sequential, whose figure it reports to its trial; got an Ensemble. Train one "
                "network in each trial, or search with tinynet.sweep, which trains many settings together."
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Report, and raise TrialPruned if the study says so."""
        if (epoch + 1) % self.every:
            return
        if self.monitor not in logs:
            raise ValueError(
                f"OptunaPruning monitors {self.monitor!r}; this training reports {', '.join(logs)}. "
                "Pass validation_data for figures that start with val_, or monitor another."
            )
        self.trial.report(logs[self.monitor], epoch)
        if self.trial.should_prune():
            self.trainer.history.stop_reason = f"pruned by Optuna in epoch {epoch}"
            raise self._pruned(f"pruned in epoch {epoch} with {self.monitor} {logs[self.monitor]:g}")
