"""What is told of a training that diverged: in which epoch, what became infinite, and what helps."""

from __future__ import annotations

import math

from tinynet.base.errors import DivergenceError
from tinynet.layers import Denormalize, Normalize
from tinynet.optimizers import Optimizer
from tinynet.training.history import History
from tinynet.training.trainable import Trainable


def divergence(loss: float, epoch: int, model: Trainable, optimizer: Optimizer, history: History) -> DivergenceError:
    """Return the error of a training in which the loss, or else a parameter, is not finite.

    Parameters
    ----------
    loss : float
        Of the epoch in which it happened.
    epoch : int
        Counted from 0; people are told of it as progress is, from 1.
    model : Trainable
        It has its best weights again.
    optimizer : Optimizer
    history : History
    """
    what = "the parameters became infinite" if math.isfinite(loss) else f"the loss became {loss}"
    reason = f"Training diverged in epoch {epoch + 1}: {what}."
    clip = "clip gradients (clip_norm=1.0)" if optimizer.clip_norm is None else "lower clip_norm"
    remedies = [f"Lower the learning rate (it is {optimizer.learning_rate!r})", clip]
    if not isinstance(model.layers[0], Normalize):
        remedies.append("scale the data (tn.Normalize)")
    elif model.loss and model.loss.takes_standardised and not isinstance(model.layers[-1], Denormalize):
        remedies.append("scale the targets (tn.Denormalize)")
    *first, last = remedies
    return DivergenceError(
        f"{reason} {', '.join(first)}, or {last}. The model holds the best weights seen before.",
        epoch,
        history,
        model.get_weights(),
        reason,
    )
