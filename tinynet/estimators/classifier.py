"""MLPClassifier: scikit-learn's classifier, trained by tinynet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from tinynet.backends.base import Backend
from tinynet.base.hints import hints_names
from tinynet.estimators import objective, scores
from tinynet.estimators.base import BaseMultilayerPerceptron
from tinynet.estimators.fit_callbacks import with_callbacks
from tinynet.estimators.inputs import beside, on_host
from tinynet.estimators.samples import given_set
from tinynet.training.callbacks import Callback
from tinynet.training.data import check_some_weight


@hints_names
class MLPClassifier(ClassifierMixin, BaseMultilayerPerceptron):  # type: ignore[misc]
    """A network that classifies: ``sklearn.neural_network.MLPClassifier``, trained by tinynet's compiled plans.

    Parameters, methods, attributes and numbers are scikit-learn's; what comes after ``max_fun`` is tinynet's.

    Parameters
    ----------
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
    class_weight : dict, "balanced", list of dict or None, default=None
        Factor for each class while training, and not in scores and losses of a validation set; "balanced":
        ``n_samples / (n_classes * count)`` of the samples that are trained on.
    dropout : float, or one for each hidden layer, default=0.0
        Share of the outputs of hidden layers that is zeroed while training.
    backend : str or None, default=None
        "numba" (or "cpu"), "numpy", "cupy" (or "gpu"); None: the one in force.
    callbacks : list of tinynet.Callback or None, default=None
        For the solvers "sgd" and "adam". They see "loss", "learning_rate" and, with a validation set, "val_loss" and
        "val_accuracy". scikit-learn's own callbacks are given to ``set_callbacks``.

    Attributes
    ----------
    classes_ : (n_classes,) array
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

    Notes
    -----
    The reported loss is computed from logits and not clipped, where scikit-learn's is at probabilities of ``eps``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((10,), solver="lbfgs", random_state=0).fit(X, y)
    >>> clf.predict(X[:2]).tolist()
    [0, 0]
    """

    loss = "log_loss"
    score_name = "accuracy"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        dropout: Any = 0.0,
        backend: str | Backend | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
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
        self.class_weight = class_weight
        self.dropout = dropout
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
        y : (n_samples,) array-like of classes, or (n_samples, n_labels) array-like of 0 and 1
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train for one epoch.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) array-like
        sample_weight : (n_samples,) array-like, optional
        classes : (n_classes,) array-like
            All classes that will ever come; needed in the first call.

        Returns
        -------
        self
        """
        y, classes = on_host(y, "y"), on_host(classes, "classes")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Return the class of each sample.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        y : (n_samples,) array, or (n_samples, n_labels) array
            NumPy's; with scikit-learn's array-API dispatch, of the library and on the device of X, except strings.
        """
        output = self._output(X)
        return beside(self._label_binarizer.inverse_transform(output.ravel() if self.n_outputs_ == 1 else output), X)

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities, (n_samples, n_classes), in the order of ``classes_``.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        """
        return beside(self._probabilities(X), X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of ``predict_proba``.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        """
        probabilities = self._probabilities(X)
        return beside(np.log(probabilities, out=probabilities), X)

    def _probabilities(self, X: Any) -> NDArray[Any]:
        output = self._output(X)
        return np.hstack([1 - output, output]) if self.n_outputs_ == 1 else output

    # -- for the course of a fit -------------------------------------------------------------------------------------

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, NDArray[Any]]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {unique_labels(y)}"
            )
        elif len(np.setdiff1d(unique_labels(y), self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {unique_labels(y)}."
            )
        return X, self._binarized(y)

    def _binarized(self, y: Any) -> NDArray[Any]:
        encoded: NDArray[Any] = self._label_binarizer.transform(y).astype(bool)
        return encoded

    def _validate_targets(self, y: Any) -> NDArray[Any]:
        y = np.asarray(y)
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        unknown = np.setdiff1d(unique_labels(y), self.classes_, assume_unique=True)
        if len(unknown):
            raise ValueError(f"y_val has classes that y has not: {unknown}. y has {self.classes_}.")
        return self._binarized(y)

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _objective(self) -> objective.Objective:
        return objective.of_classifier(self.out_activation_, self.alpha)

    def _encode(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y.astype(dtype)

    def _stratify(self, y: NDArray[Any]) -> NDArray[Any] | None:
        # As scikit-learn: not for several columns, which stand for labels there, or for classes.
        return y if self.n_outputs_ == 1 else None

    def _weigh(self, y: NDArray[Any], sample_weight: Any, dtype: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "partial_fit does not support class_weight='balanced': it sees a part of the data at a time. Compute "
                "the weights from all of y with sklearn.utils.class_weight.compute_class_weight and pass a dict."
            )
        if isinstance(self.class_weight, list) and not all(isinstance(each, dict) for each in self.class_weight):
            raise TypeError(
                "class_weight as a list expects a dict for each label; got other entries. For the classes of one label "
                "pass a dict of a factor for each, or 'balanced'."
            )
        weights = compute_sample_weight(self.class_weight, self._label_binarizer.inverse_transform(y.astype(np.int64)))
        low, high = float(weights.min()), float(weights.max())
        if not (np.isfinite(high) and low >= 0):
            raise ValueError(f"class_weight must be finite numbers, not below 0; got {low:g} to {high:g}.")
        name = "class_weight"
        if sample_weight is not None:
            name, weights = "class_weight times sample_weight", weights * sample_weight
        if float(weights.max()) > float(np.finfo(dtype).max):
            raise ValueError(
                f"{name} must fit into {np.dtype(dtype).name}, the dtype of X; got {float(weights.max()):g}. Scale the "
                "weights: only what they are to each other counts."
            )
        check_some_weight(weights.astype(dtype), name)
        return weights

    def score_output(self, targets: NDArray[Any], output: NDArray[Any], weight: NDArray[Any] | None) -> float:
        """Return the accuracy of the network's output."""
        return scores.accuracy(targets, output, weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
