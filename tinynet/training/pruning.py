"""Pruning: Optuna ends a training that goes worse than those before it."""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import member, whole
from tinynet.base.errors import requires
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs
from tinynet.training.metrics import known_direction


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
    mode : {"auto", "min", "max"}
        Whether the figure should fall or rise, as the study should that compares it. "auto": losses fall, metrics of
        tinynet's go their way, and others are taken to go the study's.

    Raises
    ------
    DependencyError
        If optuna is not installed.
    TypeError
        If ``trial`` is no trial, or, before training, if the model is an ensemble.
    ValueError
        If the figure should rise and the study minimises, or the other way round, or the study has several objectives;
        when an epoch ends, if the training does not report ``monitor``.

    Examples
    --------
    >>> import optuna, tinynet as tn
    >>> trial = optuna.trial.FixedTrial({})
    >>> len(tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[OptunaPruning(trial, "loss")]))
    1
    """

    def __init__(self, trial: Any, monitor: str = "val_loss", every: int = 1, mode: str = "auto") -> None:
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise requires("optuna", "OptunaPruning", "pip install optuna") from error
        if not (hasattr(trial, "report") and hasattr(trial, "should_prune")):
            raise TypeError(f"OptunaPruning expects the trial that Optuna hands to the objective; got {trial!r}.")
        self.trial, self.monitor, self.every = trial, monitor, whole("every", every)
        _check_direction(trial, monitor, mode)
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


def _check_direction(trial: Any, monitor: str, mode: str) -> None:
    """Raise ValueError where the study would take the best epochs for the worst: it compares by its own direction."""
    study = getattr(trial, "study", None)  # A FixedTrial has none, and is never pruned.
    wanted = known_direction(monitor) if member("mode", mode, ("auto", "min", "max")) == "auto" else mode
    if study is None:
        return
    directions = [each.name.lower()[:3] for each in study.directions]
    if len(directions) > 1:
        raise ValueError(
            f"OptunaPruning expects a study of one objective; got one of {len(directions)}, whose trials Optuna does "
            "not prune. Leave the callback out."
        )
    if wanted is not None and directions != [wanted]:
        goes = {"min": "minimises", "max": "maximises"}.get(directions[0], "has no direction")
        raise ValueError(
            f"OptunaPruning expects a figure that goes the way of its study, which {goes}; got {monitor!r}, which "
            f"should {'fall' if wanted == 'min' else 'rise'}: the best trials would be pruned. Monitor another, such "
            f"as the figure that the objective returns, or make the study with direction='{wanted}imize'."
        )
