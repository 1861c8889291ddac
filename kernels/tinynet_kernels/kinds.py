"""What the kernels can be asked for by name, and what a caller must know of each.

Every module of kernels has one table of functions per table here, with the same keys.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivationTraits:
    """What a caller must know of an activation.

    Attributes
    ----------
    reads_z : bool
        Whether the backward pass reads the pre-activation ``z``. Where it does not, ``z`` and ``y`` may be one array.
    elementwise : bool
        Whether each output depends on one input only (softmax depends on its row).
    uses_alpha : bool
        Whether the parameter ``alpha`` means anything. It must then be non-negative.
    """

    reads_z: bool = False
    elementwise: bool = True
    uses_alpha: bool = False


@dataclass(frozen=True)
class LossTraits:
    """What a caller must know of a loss.

    Attributes
    ----------
    index_target : bool
        Whether ``target`` holds one class number per sample, instead of one value per prediction.
    elementwise : bool
        Whether the loss of each prediction depends on that prediction and its target only.
    uses_parameter : bool
        Whether ``parameter`` means anything.
    """

    index_target: bool = False
    elementwise: bool = True
    uses_parameter: bool = False


ACTIVATIONS: dict[str, ActivationTraits] = {
    "identity": ActivationTraits(),
    "sigmoid": ActivationTraits(),
    "tanh": ActivationTraits(),
    "relu": ActivationTraits(),
    "leaky_relu": ActivationTraits(uses_alpha=True),
    "elu": ActivationTraits(uses_alpha=True),
    "gelu": ActivationTraits(reads_z=True),
    "silu": ActivationTraits(reads_z=True),
    "softplus": ActivationTraits(),
    "exponential": ActivationTraits(),
    "softmax": ActivationTraits(elementwise=False),
}
"""Every activation, by kind."""

READS_Z: frozenset[str] = frozenset(kind for kind, traits in ACTIVATIONS.items() if traits.reads_z)
"""The kinds whose backward pass reads ``z``: they are not monotonic, so ``y`` does not say where ``z`` was."""

LOSSES: dict[str, LossTraits] = {
    "mse": LossTraits(),
    "mae": LossTraits(),
    "huber": LossTraits(uses_parameter=True),
    "bce": LossTraits(),
    "bce_logits": LossTraits(),
    "poisson_log": LossTraits(),
    "cross_entropy": LossTraits(elementwise=False),
    "cross_entropy_index": LossTraits(index_target=True, elementwise=False),
    "cross_entropy_probabilities": LossTraits(),
    "cross_entropy_probabilities_index": LossTraits(index_target=True, elementwise=False),
}
"""Every loss, by kind."""
