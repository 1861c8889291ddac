"""Network: what whole epochs are made for, as plain data."""

from typing import NamedTuple

Setting = float | tuple[float, ...]
"""A number; for many models that are trained at once, one for all or one for each."""


NORMS = ("layer_norm", "batch_norm")
"""Kinds of layers that standardise rows, or batches."""


class Layer(NamedTuple):
    """One stage: an affine map with the activation after it, an activation alone, dropout, a norm, or a way around.

    Attributes
    ----------
    kind : {"linear", "activation", "dropout", "normalize", "layer_norm", "batch_norm", "fork", "join"}
        What passes a fork is added to what comes to the join of the same place.
    n_in, n_out : int
    bias : bool
        Of a linear layer; of a norm whether it has a weight and a bias.
    activation : str
        Kind of the activation of a linear or an activation layer; "identity" where there is none.
    alpha : Setting
        Parameter of the activation, the rate of dropout, or what a norm adds to variances.
    place : int
        Number of a dropout layer, which is part of the counter that its masks are drawn from, or of a fork and its
        join.
    frozen : bool
        Whether a linear layer stays as it is while others are trained.
    decay : tuple of float
        Weight decay of the weight and of the bias of a layer, where each parameter has its own.
    momentum : float
        How far the running statistics of a batch norm, two numbers for each column behind its weight and bias, go.
    beside : int
        Of a join to which a matrix leads what passed the fork: how many columns that has.
    """

    kind: str
    n_in: int
    n_out: int
    bias: bool = False
    activation: str = "identity"
    alpha: Setting = 0.0
    place: int = 0
    frozen: bool = False
    decay: tuple[float, float] = (0.0, 0.0)
    momentum: float = 0.0
    beside: int = 0

    @property
    def weight_rows(self) -> int:
        """Rows of its weight, which all have ``n_out`` columns; 0 where it has none."""
        return self.n_in if self.kind == "linear" else self.beside or int(self.kind in NORMS and self.bias)


class Loss(NamedTuple):
    """A loss; ``mean`` tells whether the epoch's value is the mean over samples; ``scale`` is that of one element.

    The gradient of a batch of n samples has the factor ``scale / n`` if ``mean``, else ``scale``.

    Attributes
    ----------
    report : float
        Factor of the value that is reported, and not of its gradient.
    l2 : float
        ``l2 / 2`` times the squares of all weights is added to the sum over a batch.
    by_weight : bool
        Whether the mean is over the weights of the samples, not over their number.
    slopes : Loss or None
        That of the derivatives by the inputs, which is added; see ``LossSpec``.
    """

    kind: str
    parameter: Setting
    mean: bool
    scale: float
    report: float = 1.0
    l2: float = 0.0
    by_weight: bool = False
    slopes: "Loss | None" = None


class Optimizer(NamedTuple):
    """An optimizer and its settings, in the order of the kernel's arguments."""

    kind: str
    settings: tuple[Setting, ...]
    clip_norm: Setting | None = None
    clip_value: Setting | None = None

    @property
    def decoupled(self) -> bool:
        """Whether weight decay shrinks the parameters, and is not added to the gradient."""
        return self.kind == "adamw"


class Network(NamedTuple):
    """Everything that the source of a fused function depends on.

    ``weighted`` tells whether samples have weights, ``ordered`` whether rows are gathered by an index.
    """

    layers: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer
    dtype: str
    weighted: bool
    ordered: bool

    @property
    def decays(self) -> bool:
        """Whether parameters have a weight decay of their own."""
        return any(any(layer.decay) for layer in self.layers)
