"""What the two estimators share: parameters, the course of a fit, and what is recorded of it."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tinynet.backends import get_backend
from tinynet.backends.base import Backend
from tinynet.base.config import chosen_threads, use_threads
from tinynet.estimators import lbfgs, networks
from tinynet.estimators.fit_callbacks import CallbackSupportMixin, FitTask
from tinynet.estimators.inputs import admitted, on_host
from tinynet.estimators.objective import Objective
from tinynet.estimators.solver import SolverState, SparseData, StochasticTrainer
from tinynet.estimators.threads import modest_threads
from tinynet.exchange.archive import Path_
from tinynet.models.sequential import Sequential
from tinynet.training.data import Data

if TYPE_CHECKING:
    from onnx import ModelProto

DENSE_BYTES = 1 << 28
"""Largest sparse matrix, in bytes of its dense form, that is made dense as a whole."""

PREDICT_BYTES = 1 << 26
"""The same of the rows that are predicted at a time."""


class BaseMultilayerPerceptron(CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """The course of a fit; ``MLPClassifier`` and ``MLPRegressor`` know their targets, losses and scores."""

    score_name: ClassVar[str]
    """What the score of the validation set is called in the logs."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(networks.ACTIVATIONS)), "array-like"],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "backend": [str, Backend, None],
        "callbacks": [list, tuple, None],
    }

    # -- what the subclasses know ------------------------------------------------------------------------------------

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, NDArray[Any]]:
        """Return checked samples, and targets of shape (n_samples, n_outputs)."""

    @abstractmethod
    def _validate_targets(self, y: Any) -> NDArray[Any]:
        """Return targets of a validation set, encoded as those of the training set."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return the activation of the output layer."""

    @abstractmethod
    def _objective(self) -> Objective:
        """Return what is minimised."""

    @abstractmethod
    def _encode(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return targets as the loss takes them."""

    @abstractmethod
    def score_output(self, targets: NDArray[Any], output: NDArray[Any], weight: NDArray[Any] | None) -> float:
        """Return the score of the network's output for encoded targets."""

    def _weigh(self, y: NDArray[Any], sample_weight: Any, incremental: bool) -> Any:
        """Return the weights of the samples with those of their classes."""
        return sample_weight

    def _stratify(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """Return what the split of the validation set should keep the shares of."""
        return None

    @staticmethod
    def _given(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any] | None:
        """Return the validation set that a user gave, if any."""
        if X is None and y is None and weight is None:
            return None
        if X is None or y is None:
            raise ValueError("fit expects both X_val and y_val, or neither; got one of them.")
        return X, y, weight

    # -- the course of a fit -----------------------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        incremental: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
    ) -> Any:
        hidden = self.hidden_layer_sizes
        sizes = [int(n) for n in (hidden if hasattr(hidden, "__iter__") else [hidden])]
        if any(n <= 0 for n in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        given = X, y, sample_weight
        X, y, sample_weight = admitted(X), on_host(y, "y"), on_host(sample_weight, "sample_weight")
        X, y = self._validate_input(X, y, incremental, first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        sample_weight = self._weigh(y, sample_weight, incremental)
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *sizes, self.n_outputs_], X.dtype)
        held_out = None if validation is None else self._validated_set(validation, X.dtype)
        with self._using_threads(self._batch_rows(X.shape[0])):
            if self.solver == "lbfgs":
                self._fit_lbfgs(X, y, sample_weight, held_out, given)
            else:
                self._fit_stochastic(X, y, sample_weight, held_out, incremental, given)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return self

    def _initialize(self, sizes: list[int], dtype: Any) -> None:
        """Draw parameters, and forget what was recorded."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output_activation()
        activations = self._activations()
        self.coefs_, self.intercepts_ = networks.draw(sizes, activations, self._random_state, dtype)
        # scikit-learn's estimators draw no such number: without dropout the draws that follow are theirs.
        self._dropout_seed = int(self._random_state.randint(2**31)) if np.any(np.asarray(self.dropout) != 0) else 0
        self.validation_loss_curve_: list[float] | None = None
        self._network: Sequential | None = None
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.best_loss_: Any = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_: Any = -np.inf if self.early_stopping else None

    def _activations(self) -> list[str]:
        """Return the activation of every layer but the first."""
        hidden = networks.one_for_each("activation", self.activation, self.n_layers_ - 2)
        return [*networks.checked_activations(hidden), self.out_activation_]

    def _fit_stochastic(
        self, X: Any, y: NDArray[Any], weight: Any, held_out: Data | None, incremental: bool, given: tuple[Any, ...]
    ) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = SolverState(self)
        if self.early_stopping and held_out is None:
            X, y, weight, held_out = self._split(X, y, weight)
        if held_out is not None:
            self.validation_loss_curve_ = self.validation_loss_curve_ or []
            self.validation_scores_ = self.validation_scores_ or []
        n_samples = X.shape[0]
        if self.batch_size != "auto" and self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
            )
        network = self.network_
        self._show()
        task = None if incremental else FitTask(self, given, lambda: _copies(network))
        self.n_iter_ = 0
        trainer = StochasticTrainer(
            self,
            network,
            self._data(X, y, weight, network, dense=X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE_BYTES),
            held_out,
            objective=self._objective(),
            batch_size=self._batch_rows(n_samples),
            epochs=1 if incremental else int(self.max_iter),
            task=task if task is not None and task.active else None,
        )
        try:
            trainer.run()
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        else:
            if not incremental and not network.stop_training:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=3,
                )
        finally:
            _release(self.callbacks)
            if self.early_stopping:
                network.set_flat_parameters(trainer.best_parameters)
            self._show()
        if task is not None:
            task.end()

    def _fit_lbfgs(self, X: Any, y: NDArray[Any], weight: Any, held_out: Data | None, given: tuple[Any, ...]) -> None:
        # A line search in float32 ends in its noise; the parameters are rounded when all is done.
        network = self._build("float64")
        data, objective = self._data(X, y, weight, network), self._objective()
        task = FitTask(self, given, lambda: _copies(network, X.dtype))
        plan = network.plan(objective, SolverState(self).optimizer, data.y, len(data), "epoch")
        if held_out is not None:
            self.validation_loss_curve_ = []

        def look(iteration: int, loss: float) -> bool:
            if self.verbose:
                print(f"Iteration {iteration}, loss = {loss:.8f}")
            if held_out is not None:
                assert self.validation_loss_curve_ is not None
                value = plan.evaluate(network.state, held_out.x, held_out.y, held_out.weight)
                self.validation_loss_curve_.append(value)
            if not task.active:
                return False
            task.begin_iteration(iteration - 1)
            return task.end_iteration()

        watched = self.verbose or task.active or held_out is not None
        result = lbfgs.minimise(
            network,
            data,
            objective,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            observer=look if watched else None,
        )
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = float(result.fun)
        self.coefs_, self.intercepts_ = _copies(network, X.dtype).values()
        self._network = self._build(X.dtype)
        self._show()
        task.end()

    def _batch_rows(self, n_samples: int) -> int:
        """Return how many samples an update sees."""
        if self.solver == "lbfgs":
            return n_samples
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n_samples)

    @contextmanager
    def _using_threads(self, rows: int) -> Iterator[None]:
        """Use as many threads as so many rows at a time are worth."""
        threads = modest_threads(rows * sum(coef.size for coef in self.coefs_))
        with use_threads(threads), self._place().using_threads(chosen_threads()):
            yield

    def _split(self, X: Any, y: NDArray[Any], weight: Any) -> tuple[Any, NDArray[Any], Any, Data]:
        """Hold out the validation set, by the same draw as scikit-learn's."""
        train, held = train_test_split(
            np.arange(len(y)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        part = None if weight is None else (weight[train], weight[held])
        held_out = self._data(X[held], y[held], None if part is None else part[1], self.network_)
        return X[train], y[train], None if part is None else part[0], held_out

    def _validated_set(self, validation: tuple[Any, Any, Any], dtype: Any) -> Data:
        """Return the user's validation set."""
        x, y, weight = (
            admitted(validation[0]),
            on_host(validation[1], "y_val"),
            on_host(validation[2], "sample_weight_val"),
        )
        x = validate_data(self, x, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        encoded = self._validate_targets(y)
        if len(encoded) != x.shape[0]:
            raise ValueError(f"X_val and y_val must have as many rows as each other; got {x.shape[0]}, {len(encoded)}.")
        if weight is not None:
            weight = _check_sample_weight(weight, x, dtype=dtype)
        place = self._place()
        kind = "float64" if self.solver == "lbfgs" else dtype
        targets = self._encode(encoded, kind)
        rows = np.ascontiguousarray(x.toarray() if hasattr(x, "tocsr") else x, dtype=kind)
        held = None if weight is None else place.asarray(weight, kind)
        return Data(place, place.asarray(rows), place.asarray(targets), held, targets)

    def _data(self, X: Any, y: NDArray[Any], weight: Any, network: Sequential, dense: bool = True) -> Data:
        """Return samples, targets and weights on the backend; a sparse matrix as it is, unless it may become dense."""
        place, dtype = network.backend, network.dtype
        targets = self._encode(y, dtype)
        held = None if weight is None else place.asarray(weight, dtype)
        if hasattr(X, "tocsr") and not dense:
            return SparseData(place, X.tocsr(), place.asarray(targets), held, targets)
        x = np.ascontiguousarray(X.toarray() if hasattr(X, "tocsr") else X)
        return Data(place, place.asarray(x, dtype), place.asarray(targets), held, targets)

    # -- what a training records -------------------------------------------------------------------------------------

    def record_epoch(self, loss: float, n_samples: int) -> None:
        """Record the loss of an epoch."""
        self.n_iter_ += 1
        self.loss_ = loss
        self.t_ += n_samples
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")

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

    # -- the network -------------------------------------------------------------------------------------------------

    @property
    def network_(self) -> Sequential:
        """The fitted network: a ``tinynet.Sequential`` with the parameters of ``coefs_`` and ``intercepts_``."""
        if not hasattr(self, "coefs_"):
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet: it has no network_.")
        network: Sequential | None = self.__dict__.get("_network")
        if network is None or network.backend is not self._place() or not self._fits(network):
            network = self._network = self._build(self.coefs_[0].dtype)
        elif not self._shown(network):
            network.set_flat_parameters(networks.flat(self.coefs_, self.intercepts_))
        return network

    def _build(self, dtype: Any) -> Sequential:
        sizes = [self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_)]
        dropout = networks.checked_rates(networks.one_for_each("dropout", self.dropout, len(sizes) - 2))
        return networks.build(
            sizes,
            self._activations(),
            dropout,
            dtype=dtype,
            backend=self._place(),
            values=networks.flat(self.coefs_, self.intercepts_),
            seed=self.__dict__.get("_dropout_seed", 0),
        )

    def _place(self) -> Backend:
        return get_backend(self.backend)

    def _fits(self, network: Sequential) -> bool:
        """Whether a network has the shapes of ``coefs_``."""
        layers = networks.linear_layers(network)
        shapes = [(layer.n_in, layer.n_out) for layer in layers]
        return shapes == [coef.shape for coef in self.coefs_] and network.dtype == self.coefs_[0].dtype

    def _shown(self, network: Sequential) -> bool:
        """Whether ``coefs_`` and ``intercepts_`` are the network's own arrays: then nobody has replaced them."""
        layers = networks.linear_layers(network)
        return all(
            coef is layer.weight and intercept is layer.bias
            for coef, intercept, layer in zip(self.coefs_, self.intercepts_, layers, strict=True)
        )

    def _show(self) -> None:
        """Let ``coefs_`` and ``intercepts_`` be the network's arrays, or copies where those are on a device."""
        network = self._network
        assert network is not None
        to_numpy, layers = network.backend.to_numpy, networks.linear_layers(network)
        self.coefs_ = [to_numpy(layer.weight) for layer in layers]
        self.intercepts_ = [to_numpy(layer.bias) for layer in layers]

    def _output(self, X: Any) -> NDArray[Any]:
        """Return the output of the network for samples of the user's, in host memory."""
        check_is_fitted(self)
        X = validate_data(self, admitted(X), accept_sparse=["csr", "csc"], reset=False)
        network = self.network_
        asarray = network.backend.asarray
        with self._using_threads(X.shape[0]):
            if not hasattr(X, "tocsr"):
                return network.predict_on_host(asarray(np.ascontiguousarray(X), network.dtype))
            rows = max(1, PREDICT_BYTES // (X.shape[1] * np.dtype(network.dtype).itemsize))
            X = X.tocsr()
            parts = [X[start : start + rows].toarray() for start in range(0, X.shape[0], rows)]
            return np.concatenate([network.predict_on_host(asarray(part, network.dtype)) for part in parts])

    def to_onnx(self, path: Path_ | None = None) -> ModelProto:
        """Return the fitted estimator as ONNX; write it to ``path`` if one is given.

        The input is ``"input"``, (batch, n_features), in the dtype of the data that it was fitted to. Opset 17. Needs
        the package onnx. ``tinynet.estimators.to_onnx`` exports a whole pipeline.

        Parameters
        ----------
        path : path, optional
            A file that is there is replaced atomically.

        Returns
        -------
        onnx.ModelProto
            A regressor's output is ``"output"``, (batch, n_outputs), with a column for one number too. A classifier's
            are ``"label"``, what ``predict`` returns, (batch,) or (batch, n_labels), as whole numbers or strings, and
            ``"probabilities"``, what ``predict_proba`` returns.

        Raises
        ------
        DependencyError
            If onnx is not installed.
        ValueError
            If a weight is not finite, there are more than 2 GiB of them, or the classes are neither strings nor whole
            numbers.
        """
        from tinynet.estimators.onnx import export_estimator

        return export_estimator(self, path)

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        # The network is made anew from coefs_ and intercepts_; plans and compiled functions do not travel.
        if "_network" in state:
            state["_network"] = None
        return state

    def __sklearn_array_api_convert__(self, converter: Any) -> Any:
        """Return a copy for scikit-learn's ``move_estimator_to``: it predicts for any library's arrays as it is."""
        return copy.deepcopy(self)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # array_api_support stays off: it promises to refuse arrays of another library than those of the fit. Here the
        # fitted attributes are NumPy arrays, and any library's are taken.
        tags.input_tags.sparse = True
        return tags


def _copies(network: Sequential, dtype: Any = None) -> dict[str, list[NDArray[Any]]]:
    """Return copies of a network's parameters by the names of the fitted attributes."""
    weights = [np.array(array, dtype=dtype) for array in network.get_weights()]
    return {"coefs_": weights[::2], "intercepts_": weights[1::2]}


def _release(callbacks: Any) -> None:
    """Let callbacks forget the training: an estimator must remain easy to copy and to pickle."""
    for callback in callbacks or ():
        callback.__dict__.pop("model", None)
        callback.__dict__.pop("trainer", None)
