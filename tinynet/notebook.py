"""The teaching notebook's own classes: its names, signatures, attributes and numbers, on every backend.

Everything is float64 and a plain ``ndarray``. Weights and random samples come from NumPy's global generator, drawn as
the notebook draws them, so ``np.random.seed`` repeats a run. The notebook's peculiarities are kept, since its figures
depend on them; the native call beside each (``import tinynet as tn``) does without it:

- ``Linear``'s ``_var`` is a standard deviation. There: ``tn.Linear(4, 3, weight_init=tn.Normal(0.01))``.
- ``MeanSquareError`` reports the sum over a batch, but differentiates that sum times the batch size. There:
  ``tn.MeanSquaredError(reduction="sum")``, with ``batchSize`` times the learning rate for equal steps.
- ``AbsoluteError`` reports the mean over a batch, but differentiates the sum. There: ``tn.MeanAbsoluteError()``, or
  ``reduction="sum"``; each differentiates what it reports.
- ``BinaryCrossEntropy`` reports the mean over samples, but differentiates it times the batch size squared. There:
  ``tn.BinaryCrossEntropy()``, or ``from_logits=True`` for a network without a last ``Sigmoid``.
- ``run`` drops an incomplete last batch. There: ``fit`` does not, unless ``drop_last=True``.
- ``run(shuffle=True)`` samples with replacement. There: ``fit(shuffle=True)``, a permutation of the samples.
- ``run`` divides what the loss reports, summed over the batches, by the samples: a loss per sample for a sum, but for a
  mean one that shrinks with ``batchSize``. There: ``history["loss"]``, the mean, whatever the batch size.

Where the notebook's code could not run (``Sigmoid`` and ``TanH`` overflow far from 0, ``BinaryCrossEntropy.backward``
reads attributes that nobody sets), the formula that was meant is computed, stably.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.backends import get_backend
from tinynet.base.arrays import as_real_array, check_finite
from tinynet.base.checks import number, whole

__all__ = ["AbsoluteError", "BinaryCrossEntropy", "Linear", "MeanSquareError", "ReLU", "Sigmoid", "SimpleModel", "TanH"]

FloatArray = NDArray[np.float64]
LayerStack = dict[str, Any]
CustomFunction = Callable[[LayerStack, NDArray[Any], NDArray[Any], Any, Any], tuple[LayerStack, Any]]


class Linear:
    """``y = x @ weight + bias``.

    Parameters
    ----------
    inputDim, outputDim : int
    _var : float
        Standard deviation (despite its name) of the initial weights and biases, which are normal with mean 0.

    Attributes
    ----------
    weight, gradWeight : (inputDim, outputDim) float64
    bias, gradBias : (1, outputDim) float64
        All four are yours to change or to replace. ``backward`` replaces the gradients, so a copy is never needed.

    Examples
    --------
    >>> np.random.seed(0)
    >>> Linear(4, 3).forward([[1, 2, 2, 3]]).shape
    (1, 3)
    """

    def __init__(self, inputDim: int, outputDim: int, _var: float = 0.01) -> None:
        shape = whole("inputDim", inputDim), whole("outputDim", outputDim)
        deviation = number("_var", _var)
        self.weight: FloatArray = np.random.randn(*shape) * deviation
        self.bias: FloatArray = np.random.randn(1, shape[1]) * deviation
        self.gradWeight: FloatArray = np.zeros_like(self.weight)
        self.gradBias: FloatArray = np.zeros_like(self.bias)

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return ``x @ weight + bias`` for ``x`` (n_samples, inputDim)."""
        weight, bias = self._parameters()
        rows = self._inputs(x, weight)
        backend = get_backend()
        y = backend.empty((len(rows), weight.shape[1]), "float64")
        with backend.active():
            backend.kernels.linear_forward(*map(backend.asarray, (rows, weight, bias)), y)
        return backend.to_numpy(y)

    def backward(self, x: ArrayLike, gradOutput: ArrayLike) -> FloatArray:
        """Set ``gradWeight`` and ``gradBias``, summed over the samples; return the gradient with respect to ``x``.

        Parameters
        ----------
        x : (n_samples, inputDim) float
            What ``forward`` was given.
        gradOutput : (n_samples, outputDim) float
            Gradient of the loss with respect to what ``forward`` returned.
        """
        weight, bias = self._parameters()
        rows = self._inputs(x, weight)
        n_in, n_out = weight.shape
        dy = _gradient(gradOutput, (len(rows), n_out), f"Linear({n_in}, {n_out})")
        backend = get_backend()
        dw, db, dx = (backend.empty(shape, "float64") for shape in (weight.shape, bias.shape, rows.shape))
        with backend.active():
            backend.kernels.linear_backward(*map(backend.asarray, (rows, weight, dy)), dw, db, dx)
        self.gradWeight = backend.to_numpy(dw)
        self.gradBias = backend.to_numpy(db).reshape(1, n_out)
        return backend.to_numpy(dx)

    def get_parameters(self) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Return ``(weight, bias), (gradWeight, gradBias)``: the arrays themselves."""
        return (self.weight, self.bias), (self.gradWeight, self.gradBias)

    def _parameters(self) -> tuple[FloatArray, FloatArray]:
        """Return the weight, and the bias as (outputDim,); users may have put anything there."""
        weight, bias = _float64(self.weight, "weight"), _float64(self.bias, "bias")
        n_out = weight.shape[-1] if weight.ndim == 2 else None
        if n_out is None or bias.shape not in ((1, n_out), (n_out,), ()):
            raise ValueError(
                "Linear expects a weight of shape (inputDim, outputDim) and a bias of shape (1, outputDim); "
                f"got {weight.shape} and {bias.shape}. Reshape what you assigned."
            )
        return weight, bias.reshape(-1) if bias.ndim else np.full(n_out, bias)

    @staticmethod
    def _inputs(x: ArrayLike, weight: FloatArray) -> FloatArray:
        rows, (n_in, n_out) = _float64(x, "x"), weight.shape
        if rows.ndim != 2 or rows.shape[1] != n_in:
            remedy = "Use x.reshape(1, -1) for one sample." if rows.ndim == 1 else "Check the number of columns."
            raise ValueError(
                f"Linear({n_in}, {n_out}) expects inputs of shape (batch, {n_in}); got {rows.shape}. {remedy}"
            )
        return rows


class _Activation:
    """An elementwise function, whose derivative is a function of its own value."""

    _kind: str
    _x: FloatArray | None = None
    _y: FloatArray | None = None

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the activations, shaped like ``x``, and remember them for ``backward``."""
        backend = get_backend()
        self._x = _float64(x, "x")
        y = backend.empty(_rows(self._x).shape, "float64")
        with backend.active():
            backend.kernels.activation_forward(self._kind, backend.asarray(_rows(self._x)), y)
        self._y = backend.to_numpy(y).reshape(self._x.shape)
        return self._y

    def backward(self, gradOutput: ArrayLike) -> FloatArray:
        """Return the gradient with respect to the ``x`` of the last ``forward``."""
        output, backend = _remembered(self._y, type(self).__name__), get_backend()
        dy = _gradient(gradOutput, output.shape, type(self).__name__)
        y, dz = backend.asarray(_rows(output)), backend.empty(_rows(output).shape, "float64")
        # These kinds are differentiated by their value, so the kernel never reads z, and y can stand in for it.
        with backend.active():
            backend.kernels.activation_backward(self._kind, y, y, backend.asarray(_rows(dy)), dz)
        return backend.to_numpy(dz).reshape(output.shape)


class Sigmoid(_Activation):
    """``y = 1 / (1 + exp(-x))``, elementwise; never overflows.

    Examples
    --------
    >>> Sigmoid().forward([[0.0, -1e4]])
    array([[0.5, 0. ]])
    """

    _kind = "sigmoid"

    @property
    def current_sigma(self) -> FloatArray | None:
        """The ``y`` of the last ``forward``."""
        return self._y

    def reset(self) -> None:
        """Forget the last ``forward``."""
        self._x = self._y = None


class ReLU(_Activation):
    """``y = max(x, 0)``, elementwise; its derivative at 0 is 0."""

    _kind = "relu"

    @property
    def current_x(self) -> FloatArray | None:
        """The ``x`` of the last ``forward``."""
        return self._x


class TanH(_Activation):
    """``y = tanh(x)``, elementwise; never overflows."""

    _kind = "tanh"

    @property
    def current_tanh(self) -> FloatArray | None:
        """The ``y`` of the last ``forward``."""
        return self._y


class _Loss:
    """What the losses share: they remember what ``forward`` was given."""

    current_preds: FloatArray | None = None
    current_labels: FloatArray | None = None

    def _remember(self, predictions: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
        self.current_preds, self.current_labels = pair = _pair(predictions, labels, type(self).__name__)
        return pair

    def _remembered(self) -> tuple[FloatArray, FloatArray]:
        name = type(self).__name__
        return _remembered(self.current_preds, name), _remembered(self.current_labels, name)


class MeanSquareError(_Loss):
    """The sum (despite its name) of ``(p - t)**2`` over a batch; its gradient carries a factor of the batch size.

    Examples
    --------
    >>> MeanSquareError().forward([[0.5, 2.0]], [[0.0, 1.0]])
    1.25
    """

    def forward(self, predictions: ArrayLike, labels: ArrayLike) -> float:
        """Return the sum over all elements of two arrays of one shape, and remember both."""
        return _loss("mse", *self._remember(predictions, labels), scale=1.0)[0]

    def backward(self, predictions: ArrayLike = 0, labels: ArrayLike = 0) -> FloatArray:
        """Return ``2 * n_samples * (p - t)``, of the last ``forward`` unless both arrays are given."""
        left_out = isinstance(predictions, int) and predictions == 0
        p, t = self._remembered() if left_out else _pair(predictions, labels, "MeanSquareError")
        return _loss("mse", p, t, scale=len(t))[1]


class AbsoluteError(_Loss):
    """The mean of ``|p - t|`` over all elements of a batch; its gradient is that of the sum."""

    def forward(self, predictions: ArrayLike, labels: ArrayLike) -> float:
        """Return the mean over all elements of two arrays of one shape, and remember both."""
        p, t = self._remember(predictions, labels)
        return _loss("mae", p, t, scale=1.0 / p.size)[0]

    def backward(self) -> FloatArray:
        """Return the sign of ``p - t`` of the last ``forward``; 0 where they are equal."""
        return _loss("mae", *self._remembered(), scale=1.0)[1]


class BinaryCrossEntropy(_Loss):
    """``-(t log p + (1 - t) log(1 - p))``, mean over samples; its gradient carries a factor of the batch size squared.

    Logarithms are held at or above -100, so a prediction of exactly 0 or 1 gives finite numbers.
    """

    num_of_samples: int

    def forward(self, predictions: ArrayLike, labels: ArrayLike) -> float:
        """Return the loss per sample of probabilities and labels, both in [0, 1], and remember both."""
        pair = _pair(predictions, labels, "BinaryCrossEntropy")
        for name, array in zip(("predictions", "labels"), pair, strict=True):
            if array.min() < 0 or array.max() > 1:
                raise ValueError(
                    f"BinaryCrossEntropy expects {name} in [0, 1]; got values from {array.min():g} to {array.max():g}. "
                    "End the network in Sigmoid, and encode the two classes as 0 and 1."
                )
        p, t = self._remember(*pair)
        self.num_of_samples = len(t)
        return _loss("bce", p, t, scale=1.0 / self.num_of_samples)[0]

    def backward(self) -> FloatArray:
        """Return ``n_samples * (p - t) / (p * (1 - p))`` of the last ``forward``."""
        p, t = self._remembered()
        return _loss("bce", p, t, scale=len(t))[1]


class SimpleModel:
    """A stack of named layers that your own function trains, a batch at a time.

    Parameters
    ----------
    customFunction : callable
        ``customFunction(layerStack, batchInput, batchOutput, learningRate, loss)`` makes one update and returns
        ``(layerStack, loss + the loss of the batch)``.

    Attributes
    ----------
    layerStack : dict
        Whatever was added, by name.
    epochLosses : list of float
        What the last ``run`` would print if it printed every epoch.

    Examples
    --------
    >>> model = SimpleModel(lambda layerStack, x, y, learningRate, loss: (layerStack, loss + x.sum()))
    Creating PyDeepTensorNet Model
    >>> model.run(np.ones((4, 2)), np.ones((4, 1)), batchSize=2, epochs=1)
    Running Mini-batch Stochastic Gradient Descent on 4 samples
    Epoch  0 loss:  2.0
    """

    def __init__(self, customFunction: CustomFunction) -> None:
        if not callable(customFunction):
            raise TypeError(f"SimpleModel expects a function that makes one update; got {customFunction!r}.")
        print("Creating PyDeepTensorNet Model")
        self.layerStack: LayerStack = {}
        self.customFunction = customFunction
        self.epochLosses: list[float] = []

    def add(self, layerObject: Any, layerName: str) -> None:
        """Put a layer or a loss on the stack; one of that name is replaced."""
        self.layerStack[layerName] = layerObject
        print(layerName, "Added")

    def run(
        self,
        inputX: Any = None,
        outputY: Any = None,
        batchSize: int = 1,
        epochs: int = 30,
        learningRate: Any = 0.001,
        verbose: bool = True,
        printStep: int = 10,
        shuffle: bool = False,
    ) -> None:
        """Train, by a call of ``customFunction`` for every batch.

        Parameters
        ----------
        inputX, outputY : (n_samples, ...) array-like of finite numbers
        batchSize : int
            At most ``n_samples``. Samples that do not fill a last batch are left out.
        epochs : int
        learningRate
            Handed to ``customFunction`` as it is.
        verbose : bool
            Print the loss of every ``printStep``-th epoch: what ``customFunction`` added up, divided by the samples.
        shuffle : bool
            Draw each batch from all samples by ``np.random.choice``, with replacement, instead of in their order.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; nothing has run then.
        """
        x, y = _samples(inputX, outputY)
        numberOfSamples, batchSize = len(x), whole("batchSize", batchSize)
        epochs, printStep = whole("epochs", epochs, at_least=0), whole("printStep", printStep)
        if batchSize > numberOfSamples:
            raise ValueError(
                f"batchSize must be at most the number of samples, {numberOfSamples}; got {batchSize}. Lower it."
            )
        if verbose:
            kind = " " if batchSize == 1 else " Mini-batch"
            print(f"Running{kind} Stochastic Gradient Descent on {numberOfSamples} samples")
        self.epochLosses = []
        iterations = numberOfSamples // batchSize
        for epoch in range(epochs):
            loss = 0.0
            for start in range(0, iterations * batchSize, batchSize):
                drawn = np.random.choice(numberOfSamples, batchSize) if shuffle else slice(start, start + batchSize)
                loss = self._update(x[drawn], y[drawn], learningRate, loss)
            self.epochLosses.append(loss / (iterations * batchSize))
            if epoch % printStep == 0 and verbose:
                print("Epoch ", epoch, "loss: ", self.epochLosses[-1])

    def _update(self, batchInput: NDArray[Any], batchOutput: NDArray[Any], learningRate: Any, loss: Any) -> Any:
        result = self.customFunction(self.layerStack, batchInput, batchOutput, learningRate, loss)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"customFunction must return (layerStack, loss); got {result!r}. Check its return.")
        self.layerStack, loss = result
        return loss


def _float64(data: ArrayLike, name: str) -> FloatArray:
    """Return data as a C-contiguous float64 array with at least one element."""
    array = np.asarray(as_real_array(data, name), np.float64, order="C")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty; got shape {array.shape}. Check how it was selected.")
    return array


def _rows(array: FloatArray) -> FloatArray:
    """Return an array of any shape as the two-dimensional one that kernels take."""
    return array.reshape(len(array) if array.ndim else 1, -1)


def _gradient(gradOutput: ArrayLike, shape: tuple[int, ...], who: str) -> FloatArray:
    """Return a gradient of this shape; one number stands for all elements."""
    dy = _float64(gradOutput, "gradOutput")
    if dy.shape not in (shape, ()):
        raise ValueError(f"{who}.backward expects a gradient of shape {shape}, as its output; got {dy.shape}.")
    return dy if dy.shape == shape else np.full(shape, dy)


def _remembered(value: FloatArray | None, who: str) -> FloatArray:
    if value is None:
        raise RuntimeError(f"{who}.backward expects forward to have run before; it has not. Call forward first.")
    return value


def _pair(predictions: ArrayLike, labels: ArrayLike, who: str) -> tuple[FloatArray, FloatArray]:
    p, t = _float64(predictions, "predictions"), _float64(labels, "labels")
    if p.shape != t.shape or p.ndim == 0:
        raise ValueError(
            f"{who} expects predictions and labels of one shape, (batch, n_out); got {p.shape} and {t.shape}. "
            "Reshape the labels, or check the width of the last layer."
        )
    return p, t


def _loss(kind: str, p: FloatArray, t: FloatArray, scale: float) -> tuple[float, FloatArray]:
    """Return ``scale`` times the loss summed over all elements, and the gradient of that."""
    backend = get_backend()
    gradient = backend.empty(_rows(p).shape, "float64")
    arrays = backend.asarray(_rows(p)), backend.asarray(_rows(t))
    with backend.active():
        value = backend.kernels.loss_forward_backward(kind, *arrays, None, gradient, float(scale))
    return float(value), backend.to_numpy(gradient).reshape(p.shape)


def _samples(inputX: Any, outputY: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = as_real_array(inputX, "inputX"), as_real_array(outputY, "outputY")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"run expects as many rows in inputX as in outputY, and at least one; got shapes {x.shape} and {y.shape}."
        )
    check_finite(x, "inputX")
    check_finite(y, "outputY")
    return x, y
