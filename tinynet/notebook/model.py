"""The notebook's model, whose update is the caller's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinynet.base.arrays import as_real_array, check_finite
from tinynet.base.checks import whole
from tinynet.base.guard import alone
from tinynet.base.hints import HintingAttributes, hints_arguments
from tinynet.base.turns import turn_of

LayerStack: TypeAlias = dict[str, Any]
CustomFunction: TypeAlias = Callable[[LayerStack, NDArray[Any], NDArray[Any], Any, Any], tuple[LayerStack, Any]]


class SimpleModel(HintingAttributes):
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

    @hints_arguments
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
        ModelInTrainingError
            If ``customFunction`` calls it. Another thread waits until the model is not trained any more.
        """
        with alone(turn_of(self), "run", "Train another SimpleModel."):
            self._run(inputX, outputY, batchSize, epochs, learningRate, verbose, printStep, shuffle)

    def _run(
        self,
        inputX: Any,
        outputY: Any,
        batchSize: int,
        epochs: int,
        learningRate: Any,
        verbose: bool,
        printStep: int,
        shuffle: bool,
    ) -> None:
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


def _samples(inputX: Any, outputY: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = as_real_array(inputX, "inputX"), as_real_array(outputY, "outputY")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"run expects as many rows in inputX as in outputY, and at least one; got shapes {x.shape} and {y.shape}."
        )
    check_finite(x, "inputX")
    check_finite(y, "outputY")
    return x, y
