"""What the kernels can be asked for by name, and what a caller must know of each.

Every module of kernels has one table of functions per table here, with the same keys. Elementwise kinds are those of
``tinynet_kernels.formulas``; the text of a formula (``tinynet_kernels.steps.text_of``) is such a kind, too.
"""

from typing import NamedTuple

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of, is_blocks
from tinynet_kernels.expressions import Expression, Term
from tinynet_kernels.formulas import Table


class ActivationTraits(NamedTuple):
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


class LossTraits(NamedTuple):
    """What a caller must know of a loss.

    Attributes
    ----------
    index_target : bool
        Whether ``target`` holds one class number per sample, instead of one value per prediction.
    elementwise : bool
        Whether the loss of each prediction depends on that prediction and its target only.
    uses_parameter : bool
        Whether ``parameter`` means anything.
    outputs : int
        Predictions of each target: more than one of the losses of ``tinynet_kernels.blocks``.
    """

    index_target: bool = False
    elementwise: bool = True
    uses_parameter: bool = False
    outputs: int = 1


def _depends(term: Term, name: str) -> bool:
    """Tell whether a formula reads a symbol."""
    waiting, seen = [term], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Expression) and id(one) not in seen:
            if one.operation == "symbol" and one.content == name:
                return True
            seen.add(id(one))
            waiting += one.operands
    return False


def _activation_traits(kind: str) -> ActivationTraits:
    value, derivative = formulas.ACTIVATIONS[kind].terms
    return ActivationTraits(reads_z=_depends(derivative, "z"), uses_alpha=_depends(value, "alpha"))


def _loss_traits(kind: str) -> LossTraits:
    if is_blocks(kind):
        return LossTraits(elementwise=False, outputs=blocks_of(kind).size)
    value, _ = formulas.LOSSES[kind].terms
    return LossTraits(uses_parameter=_depends(value, "parameter"))


ACTIVATIONS = Table(
    {
        **{kind: _activation_traits(kind) for kind in formulas.ACTIVATIONS},
        "softmax": ActivationTraits(elementwise=False),
    },
    _activation_traits,
)
"""Every activation, by kind."""

READS_Z: frozenset[str] = frozenset(kind for kind, traits in ACTIVATIONS.items() if traits.reads_z)
"""The named kinds whose backward pass reads ``z``: they are not monotonic, so ``y`` does not say where ``z`` was."""

LOSSES = Table(
    {
        **{kind: _loss_traits(kind) for kind in formulas.LOSSES},
        "cross_entropy": LossTraits(elementwise=False),
        "cross_entropy_index": LossTraits(index_target=True, elementwise=False),
        "cross_entropy_probabilities_index": LossTraits(index_target=True, elementwise=False),
    },
    _loss_traits,
    formulas.LOSSES.__contains__,
)
"""Every loss, by kind."""


def n_targets(kind: str, n_out: int) -> int:
    """Return how many targets a sample has for a loss of ``n_out`` predictions.

    Examples
    --------
    >>> n_targets("mse", 4), n_targets("cross_entropy_index", 4)
    (4, 1)
    """
    traits = LOSSES[kind]
    return 1 if traits.index_target else n_out // traits.outputs
