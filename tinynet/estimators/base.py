"""What the two estimators share: the course of a fit, in terms of what only each of them knows."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from tinynet.base.guard import alone
from tinynet.base.turns import turn_of
from tinynet.estimators import networks
from tinynet.estimators.courses import fit_lbfgs, fit_lm, fit_stochastic
from tinynet.estimators.fit_callbacks import CallbackSupportMixin
from tinynet.estimators.fitted import SHOWING, FittedNetwork
from tinynet.estimators.inputs import admitted, on_host
from tinynet.estimators.objective import Objective
from tinynet.estimators.parameters import CONSTRAINTS
from tinynet.estimators.record import WHOLE_SOLVERS, Record
from tinynet.estimators.samples import validated_set
from tinynet.exchange.atomic import Path_

if TYPE_CHECKING:
    from onnx import ModelProto


REMEDY = "Fit another one: sklearn.base.clone(estimator)."
"""What to do instead of fitting an estimator that is being fitted."""


class BaseMultilayerPerceptron(FittedNetwork, Record, CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """The course of a fit; ``MLPClassifier`` and ``MLPRegressor`` know their targets, losses and scores."""

    score_name: ClassVar[str]
    """What the score of the validation set is called in the logs."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS

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

    def _weigh(self, y: NDArray[Any], sample_weight: Any, dtype: Any, incremental: bool) -> Any:
        """Return the weights of samples that are trained on, with those of their classes."""
        return sample_weight

    def _stratify(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """Return what the split of the validation set should keep the shares of."""
        return None

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
        """Fit; one thread at a time does so, and no callback of the fit itself."""
        with alone(turn_of(self), "partial_fit" if incremental else "fit", REMEDY):
            return self._fitted(X, y, sample_weight, incremental, validation)

    def _fitted(self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: Any) -> Any:
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
        self._weigh(y, sample_weight, X.dtype, incremental)  # What is wrong is told before anything changes.
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *sizes, self.n_outputs_], X.dtype)
        held_out = None if validation is None else validated_set(self, validation, X.dtype)
        with self._using_threads(self._batch_rows(X.shape[0])):
            if self.solver in WHOLE_SOLVERS:
                fit = {"lbfgs": fit_lbfgs, "lm": fit_lm}[self.solver]
                fit(self, X, y, sample_weight, held_out, given)
            else:
                fit_stochastic(self, X, y, sample_weight, held_out, incremental, given)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return self

    def _initialize(self, sizes: list[int], dtype: Any) -> None:
        """Draw parameters, and forget what was recorded."""
        with SHOWING:
            self.n_layers_ = len(sizes)
            self.out_activation_ = self._output_activation()
            # scikit-learn's bound on the weights is that of ``activation``, also where no layer has it.
            hidden = self._activations()[:-1] or [str(self.activation)]
            self.coefs_, self.intercepts_ = networks.draw(sizes, hidden, self._random_state, dtype)
            # scikit-learn's estimators draw no such number: without dropout the draws that follow are theirs.
            self._dropout_seed = int(self._random_state.randint(2**31)) if np.any(np.asarray(self.dropout) != 0) else 0
            self._network, self._masks = None, 0
        self._forget()

    def _batch_rows(self, n_samples: int) -> int:
        """Return how many samples an update sees."""
        if self.solver in WHOLE_SOLVERS:
            return n_samples
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n_samples)

    # -- what scikit-learn and others ask ------------------------------------------------------------------------------

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
        network = state.get("_network")
        if network is not None:
            state["_network"], state["_masks"] = None, int(network.state.draws)
        return state

    def __sklearn_array_api_convert__(self, converter: Any) -> Any:
        """Return a copy for scikit-learn's ``move_estimator_to``: it predicts for any library's arrays as it is."""
        return copy.deepcopy(self)

    def _check_solver(self) -> bool:
        if self.solver in WHOLE_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # array_api_support stays off: it promises to refuse arrays of another library than those of the fit. Here the
        # fitted attributes are NumPy arrays, and any library's are taken.
        tags.input_tags.sparse = True
        return tags
