"""The stochastic solvers: tinynet's trainer with scikit-learn's order of samples, learning rates and stopping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.estimators.fit_callbacks import FitTask
from tinynet.estimators.objective import Objective
from tinynet.optimizers import SGD, Adam, Optimizer
from tinynet.program import Specialize
from tinynet.training.data import Data
from tinynet.training.progress import CompilerNotice
from tinynet.training.trainable import Trainable
from tinynet.training.trainer import Trainer

if TYPE_CHECKING:
    from tinynet.estimators.base import BaseMultilayerPerceptron

PIECE_BYTES = 1 << 26
"""Most memory for the rows of a sparse matrix that are made dense at a time."""

WORTH_A_FUNCTION_OF_ITS_OWN = 100_000
"""Fewest updates that a function with all sizes in it is compiled for; it serves one architecture, if that is small."""

SMALLEST_RATE = 1e-6
"""Where the adaptive learning rate stops falling."""


class SparseData(Data):
    """Samples in a sparse matrix by rows, of which some at a time become dense."""

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def streamed(self) -> bool:
        """No: pieces are brought to the backend one by one."""
        return False


class SolverState:
    """What a solver keeps from one ``partial_fit`` to the next.

    Parameters
    ----------
    estimator : BaseMultilayerPerceptron

    Attributes
    ----------
    optimizer : Optimizer
    learning_rate : float
        The one in force.
    moments : (n_moments, n_parameters) array or None
    step : int
        Number of updates.
    velocity_rate : float or None
        The learning rate that the velocity was last used with.
    """

    def __init__(self, estimator: BaseMultilayerPerceptron) -> None:
        self.schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.initial_rate, self.power = float(estimator.learning_rate_init), float(estimator.power_t)
        self.learning_rate = self.initial_rate
        self.optimizer = _optimizer(estimator)
        self.moments: NDArray[Any] | None = None
        self.step = 0
        self.velocity_rate: float | None = None

    def rate_after(self, n_seen: int) -> float:
        """Return the learning rate of the epoch after ``n_seen`` samples; sinks with them for "invscaling"."""
        if self.schedule != "invscaling":
            return self.learning_rate
        return self.initial_rate / float((n_seen + 1) ** self.power)

    def put(self, network: Trainable) -> None:
        """Give a network what the optimizer remembers."""
        network.prepare_optimizer(self.optimizer)
        if self.moments is not None and self.moments.shape == network.state.moments.shape:
            network.state.moments[...] = network.backend.asarray(self.moments, network.dtype)
            network.state.step = self.step

    def take(self, network: Trainable) -> None:
        """Take back what the optimizer remembers."""
        self.moments = np.array(network.backend.to_numpy(network.state.moments))
        self.step = network.state.step

    def give_up(self, message: str, verbose: Any) -> bool:
        """Tell whether to stop when nothing improves any more; the adaptive rate is lowered first."""
        if self.schedule != "adaptive":
            message += " Stopping."
        elif self.learning_rate <= SMALLEST_RATE:
            message += " Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
        if verbose:
            print(message)
        return message.endswith("Stopping.")


def _optimizer(estimator: BaseMultilayerPerceptron) -> Optimizer:
    rate = float(estimator.learning_rate_init)
    if estimator.solver == "adam":
        return Adam(rate, estimator.beta_1, estimator.beta_2, estimator.epsilon, epsilon_hat=True)
    optimizer = SGD(rate)
    # tinynet's own SGD refuses a momentum of 1; scikit-learn's takes it.
    optimizer.momentum = float(estimator.momentum)
    optimizer.nesterov = bool(estimator.nesterovs_momentum) and optimizer.momentum > 0
    return optimizer


class StochasticTrainer(Trainer):
    """One call of ``fit`` or ``partial_fit`` with solver "sgd" or "adam".

    As many epochs run in one call of a fused plan as cannot be interrupted by scikit-learn's stopping rule.

    Parameters
    ----------
    estimator : BaseMultilayerPerceptron
        Gets what scikit-learn's estimators record: ``n_iter_``, ``loss_``, ``loss_curve_``, ``t_``, ...
    network : Trainable
    data : Data
        ``SparseData`` where the rows of a sparse matrix are too many to be dense at once.
    validation : Data or None
    objective : Objective
    batch_size, epochs : int
    task : FitTask or None
        Told of every epoch.
    """

    def __init__(
        self,
        estimator: BaseMultilayerPerceptron,
        network: Trainable,
        data: Data,
        validation: Data | None,
        *,
        objective: Objective,
        batch_size: int,
        epochs: int,
        task: FitTask | None = None,
    ) -> None:
        super().__init__(
            network,
            data,
            validation,
            loss=objective,
            optimizer=estimator._optimizer.optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=estimator.shuffle,
            drop_last=False,
            metrics={},
            callbacks=[*(estimator.callbacks or ()), *([CompilerNotice()] if estimator.verbose else [])],
            verbose=0,
        )
        self.estimator, self.solver, self.task = estimator, estimator._optimizer, task
        self.converged = self.has_improved = False
        self._visits = np.arange(len(data))

    def run(self, resume_from: Any = None, resume_changes: Iterable[str] = ()) -> Any:
        """Train; the solver's memory is that of the estimator."""
        with self.model.backend.active():
            self.solver.put(self.model)
            try:
                return super().run(resume_from, resume_changes)
            finally:
                self.solver.take(self.model)

    def _take_over(self) -> None:
        """Leave the network without a loss: what an estimator minimises is no loss that a file could name."""
        self.model.history = self.history

    # -- what scikit-learn does otherwise ----------------------------------------------------------------------------

    def _specialize(self) -> Specialize:
        """Compile for what is long enough: an estimator is often one of many, of many shapes, each soon trained.

        It depends on the arguments only, so that the same arguments give the same bits.
        """
        return "kind" if self.epochs * self.n_updates < WORTH_A_FUNCTION_OF_ITS_OWN else "sizes"

    def _draw_order(self, n_epochs: int) -> NDArray[np.int64] | None:
        """Draw as ``sklearn.utils.shuffle`` does: each epoch permutes the order of the one before."""
        if not self.shuffle:
            return None
        n = len(self.data)
        order = np.empty((n_epochs, n), np.int64)
        for row in order:
            index = np.arange(n)
            self.estimator._random_state.shuffle(index)
            row[:] = self._visits = self._visits[index]
        return order

    def _learning_rates(self, first: int, n_epochs: int) -> NDArray[np.float64]:
        seen = int(self.estimator.t_)
        later = [self.solver.rate_after(seen + i * len(self.data)) for i in range(1, n_epochs)]
        return np.array([self.solver.learning_rate, *later])[:, None] * self.rate_factor

    def _chunk_epochs(self) -> int:
        """Return how many epochs to run in one call: no more than until training can stop at the earliest."""
        varies = self.solver.schedule == "invscaling" and self.solver.optimizer.n_moments > 0
        if self.task is not None or varies or self.validation is not None or isinstance(self.data, SparseData):
            return 1
        patience = self.estimator.n_iter_no_change + 1 - self.estimator._no_improvement_count
        return int(min(super()._chunk_epochs(), max(1, patience)))

    def _run_chunk(self, n: int) -> None:
        self._begin()
        if isinstance(self.data, SparseData):
            self._run_sparse_epoch()
        else:
            super()._run_chunk(n)

    def _run_one_epoch(self) -> None:
        if self.visit == 0:
            self._begin()
        super()._run_one_epoch()

    def _begin(self) -> None:
        if self.task is not None:
            self.task.begin_iteration(self.epoch)
        self._rescale_velocity(float(self._learning_rates(self.epoch, 1)[0, 0]))

    def _rescale_velocity(self, rate: float) -> None:
        """Follow a change of the learning rate.

        scikit-learn's velocity has the learning rate in it, ``v = momentum * v - rate * g``; PyTorch's, which the
        kernels use, has not: ``v = momentum * v + g``. They differ by the factor ``-rate`` of the step.
        """
        before, self.solver.velocity_rate = self.solver.velocity_rate, rate
        if self.solver.optimizer.kind == "sgd" and before not in (None, rate) and rate > 0:
            self.model.state.moments *= before / rate

    def _run_sparse_epoch(self) -> None:
        """Run one epoch in pieces of whole batches, whose rows are made dense."""
        rates = self._learning_rates(self.epoch, 1)
        self._save_point(1, rates)
        drawn = self._draw_order(1)
        order = np.arange(len(self.data)) if drawn is None else drawn[0]
        width = self.model.program.n_in * np.dtype(self.model.dtype).itemsize * self.batch_size
        rows = max(1, PIECE_BYTES // width) * self.batch_size
        asarray, total = self.model.backend.asarray, 0.0
        for start in range(0, len(order), rows):
            index = order[start : start + rows]
            x = asarray(self.data.x[index].toarray(), self.model.dtype)
            place = asarray(index)
            weight = None if self.data.weight is None else self.data.weight[place]
            with self.model.guard.changing():
                loss = self.plan.run(self.model.state, x, self.data.y[place], None, rates, weight)
            total += float(loss[0, 0]) * len(index)
        self.updates += self.n_updates
        self._finish_epoch(total / len(order), float(rates[0, -1]), self._measured())

    def _segmented(self) -> bool:
        if isinstance(self.data, SparseData) and super()._segmented():
            raise ValueError(
                "callbacks that look within an epoch expect data that can be dense at once; got a sparse matrix of "
                f"shape {self.data.x.shape}. Use callbacks that look after whole epochs."
            )
        return super()._segmented()

    def _finite(self, losses: NDArray[np.float64]) -> bool:
        """Let a diverging training go on: the estimator tells at its end, as scikit-learn's does."""
        return True

    def _note_best(self, losses: NDArray[np.float64]) -> None:
        """Leave it to the score, where early stopping looks at one."""

    def _random_state(self) -> Any:
        return self.estimator._random_state.get_state(legacy=False), self._visits

    def _set_random_state(self, kept: Any) -> None:
        state, self._visits = kept
        self.estimator._random_state.set_state(state)

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""
        held_out = [] if self.validation is None else ["val_loss", f"val_{self.estimator.score_name}"]
        return ["loss", *held_out, "learning_rate"]

    def _finish_epoch(self, loss: float, rate: float, figures: dict[str, float], *, begun: bool = False) -> None:
        estimator, epoch = self.estimator, self.epoch
        estimator.record_epoch(loss, len(self.data))
        logs = {"loss": loss, **figures}
        if self.validation is not None:
            estimator.record_validation(figures["val_loss"], figures[f"val_{estimator.score_name}"])
        improved = estimator.record_improvement()
        self.solver.learning_rate = self.solver.rate_after(int(estimator.t_))
        if improved and estimator.early_stopping:
            self.has_improved, self.best_parameters = True, self.model.flat_parameters()
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            if self.solver.give_up(estimator.stopping_message(), estimator.verbose):
                self.converged = self.model.stop_training = True
                self.history.stop_reason = estimator.stopping_message()
            else:
                estimator._no_improvement_count = 0
        logs["learning_rate"] = rate
        self.history.record(epoch, logs)
        self.epoch += 1
        if not begun:
            self._hook("on_epoch_begin", epoch)
        self._hook("on_epoch_end", epoch, logs)
        if self.task is not None and self.task.end_iteration():
            self.converged = self.model.stop_training = True

    def _measured(self) -> dict[str, float]:
        """Return the loss and the score of the validation set."""
        data = self.validation
        if data is None:
            return {}
        loss = self.plan.evaluate(self.model.state, data.x, data.y, data.weight)
        weight = None if data.weight is None else self.model.backend.to_numpy(data.weight)
        score = self.estimator.score_output(data.y_host, self.model.predict_on_host(data.x), weight)
        return {"val_loss": loss, f"val_{self.estimator.score_name}": score}
