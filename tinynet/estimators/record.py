"""What an estimator records of its training, as scikit-learn's do."""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE_SOLVERS = ("lbfgs", "lm")
"""The solvers that take all samples in each step."""


class Record:
    """The figures of the epochs, and what follows from them: the best one, and how long ago it was.

    Attributes
    ----------
    loss_, best_loss_ : float
    loss_curve_, validation_loss_curve_, validation_scores_ : list of float
    best_validation_score_ : float or None
    n_iter_, t_ : int
        Epochs of the last fit, and samples seen.
    """

    solver: str
    early_stopping: bool
    tol: float
    n_iter_no_change: float
    verbose: Any
    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    best_loss_: Any
    best_validation_score_: Any
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    _no_improvement_count: int

    def _forget(self) -> None:
        """Forget what was recorded."""
        self.n_iter_ = self.t_ = 0
        self.validation_loss_curve_ = None
        if self.solver not in WHOLE_SOLVERS:
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    def record_epoch(self, loss: float, n_samples: int) -> None:
        """Record the loss of an epoch."""
        self.n_iter_ += 1
        self.loss_ = loss
        self.t_ += n_samples
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")

    def record_step(self, loss: float) -> None:
        """Record the loss of a step that took all samples."""
        self.n_iter_ += 1
        self.loss_ = loss
        self.loss_curve_.append(loss)

    def record_validation(self, loss: float, score: float) -> None:
        """Record the loss and the score of the validation set."""
        assert self.validation_loss_curve_ is not None
        assert self.validation_scores_ is not None
        self.validation_loss_curve_.append(loss)
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    def record_improvement(self) -> bool:
        """Count the epochs without improvement; tell whether the last one is the best so far."""
        if self.early_stopping:
            score = self.validation_scores_[-1]  # type: ignore[index]
            slow, better = score < self.best_validation_score_ + self.tol, score > self.best_validation_score_
            self.best_validation_score_ = score if better else self.best_validation_score_
        else:
            loss = self.loss_curve_[-1]
            slow, better = loss > self.best_loss_ - self.tol, loss < self.best_loss_
            self.best_loss_ = loss if better else self.best_loss_
        self._no_improvement_count = self._no_improvement_count + 1 if slow else 0
        return bool(better)

    def stopping_message(self) -> str:
        """Return why training stops."""
        if self.early_stopping:
            return (
                f"Validation score did not improve more than tol={self.tol:f} for {self.n_iter_no_change} "
                "consecutive epochs."
            )
        return (
            f"Training loss did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        )
