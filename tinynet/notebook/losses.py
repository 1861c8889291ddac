"""The notebook's losses, each with the factor that its gradient has there."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tinynet.backends import get_backend
from tinynet.notebook.arrays import FloatArray, as_pair, as_rows, remembered


class _Loss:
    """What the losses share: they remember what ``forward`` was given."""

    current_preds: FloatArray | None = None
    current_labels: FloatArray | None = None

    def _remember(self, predictions: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
        self.current_preds, self.current_labels = pair = as_pair(predictions, labels, type(self).__name__)
        return pair

    def _remembered(self) -> tuple[FloatArray, FloatArray]:
        name = type(self).__name__
        return remembered(self.current_preds, name), remembered(self.current_labels, name)


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
        p, t = self._remembered() if left_out else as_pair(predictions, labels, "MeanSquareError")
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
        pair = as_pair(predictions, labels, "BinaryCrossEntropy")
        for name, array in zip(("predictions", "labels"), pair, strict=True):
            if array.min() < 0 or array.max() > 1:
                raise ValueError(
                    f"BinaryCrossEntropy expects {name} in [0, 1]; got values from {array.min():g} to {array.max():g}. "
                    "End the network in Sigmoid, and encode the two classes as 0 and 1."
                )
        p, t = self._remember(*pair)
        self.num_of_samples = len(t)
        return _loss("bce", p, t, scale=1.0 / len(t))[0]

    def backward(self) -> FloatArray:
        """Return ``n_samples * (p - t) / (p * (1 - p))`` of the last ``forward``."""
        p, t = self._remembered()
        return _loss("bce", p, t, scale=len(t))[1]


def _loss(kind: str, p: FloatArray, t: FloatArray, scale: float) -> tuple[float, FloatArray]:
    """Return ``scale`` times the loss summed over all elements, and the gradient of that."""
    backend = get_backend()
    gradient = backend.empty(as_rows(p).shape, "float64")
    arrays = backend.asarray(as_rows(p)), backend.asarray(as_rows(t))
    with backend.active():
        value = backend.kernels.loss_forward_backward(kind, *arrays, None, gradient, float(scale))
    return float(value), backend.to_numpy(gradient).reshape(p.shape)
