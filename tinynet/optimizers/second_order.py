"""Optimizers that take all samples in each step, and need no learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynet.base.checks import member, setting, whole
from tinynet.optimizers.optimizer import Numbers, Optimizer
from tinynet.program import Setting


class WholeOptimizer(Optimizer):
    """What they share: an epoch of ``fit`` is one step on all samples, and they stop by themselves."""

    takes_all_samples = True

    def __init__(self, goal: Numbers) -> None:
        super().__init__(1.0)
        self.goal = setting("goal", goal, at_least=0.0)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that make an optimizer like this one."""
        return {name: getattr(self, name) for name in self._shown}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({settings})"

    _shown: tuple[str, ...] = ()


class LevenbergMarquardt(WholeOptimizer):
    """Levenberg-Marquardt: Gauss-Newton steps, damped until they help. For networks of up to 5,000 parameters.

    ``(H + damping * D) step = gradient`` with ``H = J' L J``, ``J`` the derivatives of the predictions by the
    parameters and ``L`` the second derivatives of the loss by the predictions (Levenberg 1944; Marquardt 1963; Hagan
    and Menhaj 1994; for losses other than squares Schraudolph 2002). A step that makes the loss smaller is taken, and
    the damping gets smaller; one that does not is taken back, and the damping gets larger: the loss never grows. Takes
    all samples in each step, sums ``H`` over blocks of them, and stops when the gradient is 0 or no step helps.

    Parameters
    ----------
    damping : float
        What the first step begins with; MATLAB's ``mu``, with its defaults for this and the next three.
    decrease, increase : float
        Factors of the damping after a step that helped, and after one that did not. Gentler ones, such as 1/3 and 2,
        often get further in the same number of steps.
    max_damping : float
        Training stops ("damping") where no step with less helps.
    min_gradient : float
        Training stops ("gradient") where no element of the gradient is larger.
    scaling : {"identity", "marquardt"}
        ``D``: 1 for each parameter, or the diagonal of ``H``, so that the scale of a parameter does not matter.
    acceleration : bool
        Add the second-order correction along the step (Transtrum and Sethna 2012), where it is small beside it. A step
        then takes up to twice as long, and often far fewer lead as far.
    weight_decay : float
        ``weight_decay / 2`` times the sum of the squares of all parameters is added to what is minimised.
    goal : float
        Training stops ("goal") where the loss is no larger.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 3), tn.Tanh(), tn.Linear(3, 1), seed=0, dtype="float64")
    >>> history = net.fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.5], optimizer=LevenbergMarquardt(), epochs=100)
    >>> history["loss"][-1] < 1e-9
    True
    """

    kind = "levenberg_marquardt"
    _shown: tuple[str, ...] = (
        "damping",
        "decrease",
        "increase",
        "max_damping",
        "min_gradient",
        "scaling",
        "acceleration",
        "weight_decay",
        "goal",
    )

    def __init__(
        self,
        damping: Numbers = 1e-3,
        decrease: Numbers = 0.1,
        increase: Numbers = 10.0,
        max_damping: Numbers = 1e10,
        min_gradient: Numbers = 1e-7,
        scaling: str = "identity",
        acceleration: bool = False,
        weight_decay: Numbers = 0.0,
        goal: Numbers = 0.0,
    ) -> None:
        super().__init__(goal)
        self.damping = setting("damping", damping, above=0.0)
        self.decrease = setting("decrease", decrease, above=0.0, below=1.0)
        self.increase = setting("increase", increase, above=1.0)
        self.max_damping = setting("max_damping", max_damping, above=0.0)
        self.min_gradient = setting("min_gradient", min_gradient, at_least=0.0)
        self.scaling = member("scaling", scaling, ("identity", "marquardt"))
        self.acceleration = bool(acceleration)
        self.weight_decay = setting("weight_decay", weight_decay, at_least=0.0)

    def settings(self) -> dict[str, Setting]:
        """Return the numeric settings."""
        names = (
            "damping",
            "decrease",
            "increase",
            "max_damping",
            "min_gradient",
            "weight_decay",
            "goal",
        )
        settings: dict[str, Setting] = {name: getattr(self, name) for name in names}
        return settings | {"acceleration": float(self.acceleration), "marquardt": float(self.scaling == "marquardt")}

    @property
    def n_moments(self) -> int:
        """Rows for the reason to stop, the damping, the decay and the number of effective parameters."""
        return 4


class BayesianRegularization(LevenbergMarquardt):
    """Levenberg-Marquardt on squared errors plus squared weights, weighed against each other by the evidence.

    Before each step the weight of the squares of the parameters is set to what makes the data most probable (MacKay
    1992; Foresee and Hagan 1997); it begins small and at most doubles, so that the network has learned before it is
    judged. The history has the number of effective parameters, MATLAB's ``gamma``. For ``loss="mse"``. No validation
    set is needed: what the data do not ask for, the network does not learn.

    Parameters
    ----------
    damping, decrease, increase, max_damping, min_gradient, goal : float
        As for ``LevenbergMarquardt``; the damping begins with MATLAB's 0.005.

    Examples
    --------
    >>> BayesianRegularization().kind
    'bayesian_regularization'
    """

    kind = "bayesian_regularization"
    _shown: tuple[str, ...] = ("damping", "decrease", "increase", "max_damping", "min_gradient", "goal")

    def __init__(
        self,
        damping: Numbers = 5e-3,
        decrease: Numbers = 0.1,
        increase: Numbers = 10.0,
        max_damping: Numbers = 1e10,
        min_gradient: Numbers = 1e-7,
        goal: Numbers = 0.0,
    ) -> None:
        super().__init__(damping, decrease, increase, max_damping, min_gradient, goal=goal)


class LBFGS(WholeOptimizer):
    """Limited-memory BFGS with a strong Wolfe line search (Nocedal and Wright 2006, algorithms 3.5, 3.6, 7.4 and 7.5).

    For every loss and layer, your own included, and any number of parameters. Takes all samples in each step; a step
    may compute the gradient several times.

    Parameters
    ----------
    memory : int
        Pairs of a step and the change of the gradient that are kept.
    min_gradient : float
        Training stops ("gradient") where no element of the gradient is larger.
    goal : float
        Training stops ("goal") where the loss is no larger.

    Examples
    --------
    >>> LBFGS(memory=5).n_moments
    12
    """

    kind = "lbfgs"
    _shown = ("memory", "min_gradient", "goal")

    def __init__(self, memory: int | Sequence[int] = 10, min_gradient: Numbers = 1e-7, goal: Numbers = 0.0) -> None:
        super().__init__(goal)
        # One for each model where a sweep tries several.
        self.memory: int | tuple[int, ...]
        if isinstance(memory, Sequence):
            self.memory = tuple(whole("memory", each) for each in memory)
        else:
            self.memory = whole("memory", memory)
        self.min_gradient = setting("min_gradient", min_gradient, at_least=0.0)

    def settings(self) -> dict[str, Setting]:
        """Return the numeric settings."""
        memory = tuple(map(float, self.memory)) if isinstance(self.memory, tuple) else float(self.memory)
        return {"memory": memory, "min_gradient": self.min_gradient, "goal": self.goal}

    @property
    def n_moments(self) -> int:
        """Rows for the reason to stop, the number of pairs, and the pairs."""
        return 2 + 2 * (max(self.memory) if isinstance(self.memory, tuple) else self.memory)
