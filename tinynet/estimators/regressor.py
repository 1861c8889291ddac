"""MLPRegressor: scikit-learn's regressor, trained by tinynet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from tinynet.backends.base import Backend
from tinynet.base.arrays import as_real_array, check_finite
from tinynet.base.hints import hints_names
from tinynet.estimators import networks, objective, scores
from tinynet.estimators.base import BaseMultilayerPerceptron
from tinynet.estimators.fit_callbacks import with_callbacks
from tinynet.estimators.inputs import beside, on_host
from tinynet.estimators.samples import given_set
from tinynet.training.callbacks import Callback
from tinynet.training.metrics.numbers import of_measured


@hints_names
class MLPRegressor(RegressorMixin, BaseMultilayerPerceptron):  # type: ignore[misc]
    """A network that predicts numbers: ``sklearn.neural_network.MLPRegressor``, trained by tinynet's compiled plans.

    Parameters, methods, attributes and numbers are scikit-learn's; what comes after ``max_fun`` is tinynet's.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "mae", "huber"}, tinynet.Loss or callable, default="squared_error"
        The first two are scikit-learn's: half the squared error, and half the Poisson deviance of ``exp`` of the last
        layer. ``tinynet.Huber(delta)`` sets a delta; "huber" has 1. A callable ``f(y_true, y_pred)`` takes two
        (n_samples, n_outputs) arrays and returns the losses and their derivatives with respect to ``y_pred``; it is
        called for each batch, and therefore slower.
    hidden_layer_sizes : array-like of int, default=(100,)
        Widths of the hidden layers.
    activation : str, or one for each hidden layer, default="relu"
        "identity", "logistic", "tanh", "relu"; and beyond scikit-learn "elu", "exp", "gelu", "leaky_relu", "silu",
        "softplus".
    solver : {"lbfgs", "lm", "sgd", "adam"}, default="adam"
        "lm" is Levenberg-Marquardt: every step takes all samples, and few are needed. For up to 5,000 parameters.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights: ``alpha / 2`` times their squares, divided by the samples of a batch.
    batch_size : int or "auto", default="auto"
        "auto": ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        With solver "sgd": constant; ``learning_rate_init / t**power_t``; or divided by 5 whenever nothing improves.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
    max_iter : int, default=200
        Most epochs, or iterations of "lbfgs" and "lm".
    shuffle : bool, default=True
    random_state : int, RandomState instance or None, default=None
        The same state leads to the initial weights, splits and orders of samples of scikit-learn.
    tol : float, default=1e-4
        What an improvement must exceed; for "lbfgs" and "lm" the element of the gradient that is small enough.
    verbose : bool, default=False
    warm_start : bool, default=False
        Whether ``fit`` goes on from the parameters of the fit before.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Stop by the score of a validation set, which is split off or given to ``fit``, and keep the best parameters.
    validation_fraction : float, default=0.1
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam"; epsilon is added before the bias correction, as scikit-learn does.
    n_iter_no_change : int, default=10
        Most epochs in a row without improvement.
    max_fun : int, default=15000
        Most evaluations of "lbfgs".
    out_activation : str, default="auto"
        Activation of the output layer: any that ``activation`` may be. "auto": "identity", or "exp" for "poisson".
    dropout : float, or one for each hidden layer, default=0.0
        Share of the outputs of hidden layers that is zeroed while training.
    missing_targets : {"error", "ignore"}, default="error"
        "ignore": targets that are NaN were not measured. The loss of a sample is the sum over those that were; scores
        are of those, too. Not for solver "lm".
    backend : str or None, default=None
        "numba" (or "cpu"), "numpy", "cupy" (or "gpu"); None: the one in force.
    callbacks : list of tinynet.Callback or None, default=None
        For the solvers "sgd" and "adam". They see "loss", "learning_rate" and, with a validation set, "val_loss" and
        "val_r2". scikit-learn's own callbacks are given to ``set_callbacks``.

    Attributes
    ----------
    coefs_, intercepts_ : list of (n_in, n_out) arrays, list of (n_out,) arrays
    loss_, best_loss_ : float
        Of the last epoch, and the least; ``best_loss_`` is None with early stopping.
    loss_curve_ : list of float
        With its L2 penalty, one for each epoch; only of "sgd" and "adam".
    validation_scores_, validation_loss_curve_ : list of float or None
        Of the validation set, if there is one; the loss is without penalty.
    best_validation_score_ : float or None
    n_iter_, t_ : int
        Epochs of the last fit, and samples seen.
    n_layers_, n_outputs_, n_features_in_ : int
    out_activation_ : str
    feature_names_in_ : (n_features_in_,) array
        Only if all names are strings.
    network_ : tinynet.Sequential
        The network, for ``save``, ``summary`` and the like.

    Examples
    --------
    >>> X = np.linspace(0, 1, 20).reshape(-1, 1)
    >>> reg = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=0).fit(X, X.ravel() ** 2)
    >>> bool(reg.score(X, X.ravel() ** 2) > 0.99)
    True
    """

    score_name = "r2"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(objective.REGRESSION)), callable],
        "out_activation": [StrOptions({"auto", *networks.ACTIVATIONS})],
        "missing_targets": [StrOptions({"error", "ignore"})],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        out_activation: str = "auto",
        dropout: Any = 0.0,
        missing_targets: str = "error",
        backend: str | Backend | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.out_activation = out_activation
        self.dropout = dropout
        self.missing_targets = missing_targets
        self.backend = backend
        self.callbacks = callbacks

    @with_callbacks  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the network.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) or (n_samples, n_outputs) array-like
        sample_weight : (n_samples,) array-like, optional
        X_val, y_val, sample_weight_val : optional
            A validation set. Its score and loss are recorded after every epoch; ``early_stopping`` goes by it, and then
            nothing is split off.

        Returns
        -------
        self
        """
        validation = given_set(X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation=validation)

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) or (n_samples, n_outputs) array-like
        sample_weight : (n_samples,) array-like, optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Return the prediction for each sample.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        y : (n_samples,) or (n_samples, n_outputs) array
            NumPy's; with scikit-learn's array-API dispatch, of the library and on the device of X.
        """
        output = self._output(X)
        return beside(output.ravel() if output.shape[1] == 1 else output, X)

    # -- for the course of a fit -------------------------------------------------------------------------------------

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, NDArray[Any]]:
        samples: dict[str, Any] = {"accept_sparse": ["csr", "csc"], "dtype": (np.float64, np.float32)}
        if self.missing_targets == "ignore":
            targets = {"ensure_2d": False, "dtype": "numeric", "ensure_all_finite": "allow-nan"}
            X, y = validate_data(self, X, y, validate_separately=(samples, targets), reset=reset)
            check_consistent_length(X, y)
        else:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, reset=reset, **samples)
        return X, self._as_columns(y, "y")

    def _as_columns(self, y: Any, name: str) -> NDArray[Any]:
        # scikit-learn looks for NaN before it makes numbers of objects, and lets dates pass.
        values = as_real_array(y, name)
        check_finite(values[~np.isnan(values)] if self._takes_gaps(values) else values, name)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        columns: NDArray[Any] = y.reshape(len(y), -1)
        return columns

    def _validate_targets(self, y: Any) -> NDArray[Any]:
        finite = "allow-nan" if self.missing_targets == "ignore" else True
        checked = check_array(y, ensure_2d=False, dtype="numeric", input_name="y_val", ensure_all_finite=finite)
        return self._as_columns(checked, "y_val")

    def _takes_gaps(self, y: NDArray[Any]) -> bool:
        return self.missing_targets == "ignore" and y.dtype.kind == "f"

    def _output_activation(self) -> str:
        if self.out_activation != "auto":
            return self.out_activation
        return "exp" if self.loss == "poisson" else "identity"

    def _objective(self) -> objective.Objective:
        return objective.of_regressor(self.loss, self.n_outputs_, self.alpha).with_missing(self.missing_targets)

    def _encode(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        targets: NDArray[Any] = self._objective().check_target(y, y.shape[1], str(np.dtype(dtype)))
        return targets

    def score_output(self, targets: NDArray[Any], output: NDArray[Any], weight: NDArray[Any] | None) -> float:
        """Return the coefficient of determination of the network's output."""
        if self.missing_targets == "error":
            return scores.r2(targets, output, weight)
        return of_measured(lambda p, t, w: scores.r2(t, p, w), output, targets, weight)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination, as scikit-learn's; of the targets that are there, if some may miss.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) or (n_samples, n_outputs) array-like
        sample_weight : (n_samples,) array-like, optional
        """
        if self.missing_targets == "error":
            return float(super().score(X, y, sample_weight))
        targets, weight = self._validate_targets(on_host(y, "y")), on_host(sample_weight, "sample_weight")
        output = np.asarray(on_host(self.predict(X), "X")).reshape(targets.shape)
        return self.score_output(targets, output, None if weight is None else np.asarray(weight))
