"""Meaning: what a target is, and what the outputs of a network tell of it. Metrics and class weights go by it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.program import ActivationOp, Op

Kind = Literal["numbers", "classes", "labels"]
Scale = Literal["values", "probabilities", "logits", "logarithms", "unknown"]

PROBABILITIES: dict[Kind, tuple[str, ...]] = {
    "numbers": (),
    "classes": ("softmax",),
    "labels": ("sigmoid", "softmax"),
}
"""Activations whose outputs are probabilities of such targets."""


@dataclass(frozen=True)
class Meaning:
    """What a target is, and on which scale the outputs of a network are.

    Attributes
    ----------
    target : {"numbers", "classes", "labels"}
        "numbers": a real number for each output. "classes": one class of as many as there are outputs, as its number,
        a one-hot row or a row of probabilities. "labels": 0, 1 or a probability for each output by itself; a single
        output tells two classes apart.
    scale : {"values", "probabilities", "logits", "logarithms", "unknown"}
        "values": outputs are estimates of the targets. "probabilities": of the classes or labels. "logits": what
        softmax makes probabilities of classes from, and sigmoid those of labels. "logarithms": of the estimates.
        "unknown": a loss in Python does not tell whether they are probabilities or logits of labels.
    block : (int, int)
        Which of how many blocks of columns estimates the targets: the means, of means and variances.

    Examples
    --------
    >>> Meaning("labels", "logits").decided(np.array([[-2.0], [3.0]])).tolist()
    [[False], [True]]
    """

    target: Kind
    scale: Scale
    block: tuple[int, int] = (0, 1)

    def expected(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return what outputs say that targets are on average: probabilities of classes and labels, or numbers.

        Parameters
        ----------
        outputs : (n_samples, n_out) array

        Returns
        -------
        (n_samples, n_out) float64 array
        """
        number, blocks = self.block
        width = outputs.shape[1] // blocks
        z: NDArray[np.float64] = outputs[:, number * width : (number + 1) * width].astype(np.float64)
        if self.scale == "logarithms":
            return np.exp(z)
        if self.scale != "logits":
            return z
        if self.target == "labels":
            return np.exp(-np.logaddexp(0.0, -z))
        y: NDArray[np.float64] = np.exp(z - z.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        return y

    @property
    def of_expected(self) -> Meaning:
        """The meaning of what ``expected`` returns.

        Examples
        --------
        >>> Meaning("classes", "logits").of_expected.scale, Meaning("numbers", "values", (0, 2)).of_expected.block
        ('probabilities', (0, 1))
        """
        scales: dict[Scale, Scale] = {"logits": "probabilities", "logarithms": "values"}
        return Meaning(self.target, scales.get(self.scale, self.scale))

    def decided(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the likelier classes or labels: (n_samples,) class numbers, or (n_samples, n_out) bool.

        A label is 1 from even odds up; of classes that are equally likely the first is taken.

        Raises
        ------
        ValueError
            If the loss does not tell what outputs are.
        """
        if self.target == "classes":
            chosen: NDArray[np.int64] = outputs.argmax(axis=1)
            return chosen
        if self.scale == "unknown":
            raise ValueError(
                "labels are told from probabilities or from logits; the loss does not say which of them the outputs "
                "are. End the network in Sigmoid, or write targets = 'labels' and from_logits = True in its class."
            )
        cut: NDArray[np.bool_] = outputs >= (0.0 if self.scale == "logits" else 0.5)
        return cut

    def truth(self, target: NDArray[Any]) -> NDArray[Any]:
        """Return targets as ``decided`` returns outputs: the likelier class, where they are probabilities."""
        if self.target == "labels":
            labels: NDArray[np.bool_] = target >= 0.5
            return labels
        classes: NDArray[np.int64] = target if target.ndim == 1 else target.argmax(axis=1)
        return classes


def of_numbers(target: NDArray[Any], ops: tuple[Op, ...]) -> Meaning:
    """Return the meaning of targets that a loss takes for numbers: they may be labels or one-hot rows all the same.

    Parameters
    ----------
    target : (n_samples, n_out) array
    ops : tuple of Op
        Of the network.

    Examples
    --------
    >>> of_numbers(np.array([[0.0], [1.0]]), ()).target, of_numbers(np.eye(3), ()).target
    ('labels', 'classes')
    >>> of_numbers(np.array([[0.5], [1.0]]), ()).target
    'numbers'
    """
    kind: Kind = "numbers"
    if target.ndim == 2 and ((target == 0) | (target == 1)).all():
        if target.shape[1] == 1:
            kind = "labels"
        elif (target.sum(axis=1) == 1).all():
            kind = "classes"
    return Meaning(kind, "probabilities" if last_activation(ops) in PROBABILITIES[kind] else "values")


def last_activation(ops: tuple[Op, ...]) -> str | None:
    """Return the activation that a network ends in; None if it ends in something else, or is not known."""
    last = last_op(ops)
    return last.kind if isinstance(last, ActivationOp) else None


def last_op(ops: tuple[Op, ...]) -> Op | None:
    """Return the last op that does something; None if there is none."""
    return next((op for op in reversed(ops) if not (isinstance(op, ActivationOp) and op.kind == "identity")), None)
