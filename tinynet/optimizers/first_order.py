"""Optimizers that follow the gradient of a batch: one kernel over the flat vector of parameters.

The formulas and defaults are PyTorch's. A number as ``weight_decay`` is that of all parameters, biases included; a
function gives each its own, by the name that PyTorch's ``state_dict`` has for it: ``lambda name: 0.01 *
name.endswith("weight")`` leaves biases out.
"""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import setting
from tinynet.optimizers.optimizer import Decay, Numbers, Optimizer, decay_setting
from tinynet.program import Setting
from tinynet.schedules import Schedule


class SGD(Optimizer):
    """Gradient descent: ``v = momentum * v + g``, ``p -= learning_rate * v``.

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float
        0 <= momentum < 1.
    nesterov : bool
        Look ahead: ``p -= learning_rate * (g + momentum * v)`` (Sutskever et al. 2013, in PyTorch's form).
    weight_decay : float, or callable of a parameter's name
        ``g += weight_decay * p``.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    """

    kind = "sgd"

    def __init__(
        self,
        learning_rate: Numbers | Schedule = 0.01,
        momentum: Numbers = 0.0,
        nesterov: bool = False,
        weight_decay: Numbers | Decay = 0.0,
        *,
        clip_norm: Numbers | None = None,
        clip_value: Numbers | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.momentum = setting("momentum", momentum, at_least=0.0, below=1.0)
        self.nesterov = bool(nesterov)
        self.weight_decay = decay_setting(weight_decay)
        if self.nesterov and 0.0 in (self.momentum if isinstance(self.momentum, tuple) else (self.momentum,)):
            raise ValueError("nesterov=True expects momentum > 0; got momentum=0. Set momentum, for instance to 0.9.")

    def settings(self) -> dict[str, Any]:
        """Return the numeric settings in the order of the kernel's arguments."""
        return {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}

    @property
    def n_moments(self) -> int:
        """1 with momentum, else 0."""
        return int(_used(self.momentum))


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        Decay of the first and second moments, in [0, 1).
    epsilon : float
    weight_decay : float, or callable of a parameter's name
        ``g += weight_decay * p``. For decoupled decay take ``AdamW``.
    epsilon_hat : bool
        False: epsilon is added to the square root of the corrected second moment, as in algorithm 1 and PyTorch. True:
        to that of the uncorrected one, the form at the end of the paper's section 2, as in scikit-learn and TensorFlow.

    Examples
    --------
    >>> Adam().lower().n_moments
    2
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: Numbers | Schedule = 0.001,
        beta1: Numbers = 0.9,
        beta2: Numbers = 0.999,
        epsilon: Numbers = 1e-8,
        weight_decay: Numbers | Decay = 0.0,
        epsilon_hat: bool = False,
        *,
        clip_norm: Numbers | None = None,
        clip_value: Numbers | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.beta1 = setting("beta1", beta1, at_least=0.0, below=1.0)
        self.beta2 = setting("beta2", beta2, at_least=0.0, below=1.0)
        self.epsilon = setting("epsilon", epsilon, at_least=0.0)
        self.weight_decay = decay_setting(weight_decay)
        self.epsilon_hat = bool(epsilon_hat)

    def settings(self) -> dict[str, Any]:
        """Return the numeric settings in the order of the kernel's arguments."""
        names = ("beta1", "beta2", "epsilon", "weight_decay", "epsilon_hat")
        return {name: getattr(self, name) for name in names}

    @property
    def n_moments(self) -> int:
        """Two: the mean of the gradient and of its square."""
        return 2


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p -= learning_rate * weight_decay * p`` (Loshchilov and Hutter 2019).

    Examples
    --------
    >>> AdamW(weight_decay=lambda name: 0.1 * name.endswith("weight")).lower(["0.weight", "0.bias"]).decays
    (0.1, 0.0)
    """

    kind = "adamw"

    def __init__(
        self,
        learning_rate: Numbers | Schedule = 0.001,
        beta1: Numbers = 0.9,
        beta2: Numbers = 0.999,
        epsilon: Numbers = 1e-8,
        weight_decay: Numbers | Decay = 0.01,
        *,
        clip_norm: Numbers | None = None,
        clip_value: Numbers | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm=clip_norm, clip_value=clip_value)

    def settings(self) -> dict[str, Any]:
        """Return the numeric settings in the order of the kernel's arguments."""
        return {name: getattr(self, name) for name in ("beta1", "beta2", "epsilon", "weight_decay")}


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e; centered: Graves 2013, eqs. 38-45), in PyTorch's form.

    Parameters
    ----------
    learning_rate : float or Schedule
    alpha : float
        Decay of the mean square, in [0, 1).
    epsilon : float
    weight_decay : float, or callable of a parameter's name
    momentum : float
    centered : bool
        Divide by an estimate of the standard deviation, not of the root mean square.
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: Numbers | Schedule = 0.01,
        alpha: Numbers = 0.99,
        epsilon: Numbers = 1e-8,
        weight_decay: Numbers | Decay = 0.0,
        momentum: Numbers = 0.0,
        centered: bool = False,
        *,
        clip_norm: Numbers | None = None,
        clip_value: Numbers | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm=clip_norm, clip_value=clip_value)
        self.alpha = setting("alpha", alpha, at_least=0.0, below=1.0)
        self.epsilon = setting("epsilon", epsilon, at_least=0.0)
        self.weight_decay = decay_setting(weight_decay)
        self.momentum = setting("momentum", momentum, at_least=0.0, below=1.0)
        self.centered = bool(centered)

    def settings(self) -> dict[str, Any]:
        """Return the numeric settings in the order of the kernel's arguments."""
        return {name: getattr(self, name) for name in ("alpha", "epsilon", "weight_decay", "momentum", "centered")}

    @property
    def n_moments(self) -> int:
        """The mean square, and one more each for momentum and for centering."""
        return 1 + int(_used(self.momentum)) + int(self.centered)


def _used(value: Setting) -> bool:
    """Whether a setting may be other than 0 for some model."""
    return isinstance(value, tuple) or value > 0.0
