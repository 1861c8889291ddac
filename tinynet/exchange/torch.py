"""Networks that PyTorch has trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet.base.errors import requires
from tinynet.layers import ELU, GELU, Dropout, Identity, LeakyReLU, Linear, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from tinynet.layers.layer import Layer
from tinynet.models.sequential import Sequential

Problem = str
"""Why a module cannot be taken over."""


def _gelu(module: Any) -> Layer | Problem:
    return GELU() if module.approximate == "none" else f"approximate={module.approximate!r}; expected 'none'"


def _softplus(module: Any) -> Layer | Problem:
    # PyTorch gives z itself above its threshold: at 20, its default, softplus(z) - z is 2e-9.
    if module.beta != 1 or module.threshold < 20:
        return f"beta={module.beta}, threshold={module.threshold}; expected beta=1 and a threshold of 20 or more"
    return Softplus()


def _softmax(module: Any) -> Layer | Problem:
    return Softmax() if module.dim in (1, -1) else f"dim={module.dim}; expected 1 or -1, the columns"


def _dropout(module: Any) -> Layer | Problem:
    return Dropout(module.p) if module.p < 1 else f"p={module.p}; expected less than 1"


def _flatten(module: Any) -> Layer | Problem:
    # Samples are rows already.
    return Identity() if (module.start_dim, module.end_dim) == (1, -1) else "expected start_dim=1, end_dim=-1"


MODULES: dict[str, Callable[[Any], Layer | Problem]] = {
    "Linear": lambda module: Linear(module.in_features, module.out_features, bias=module.bias is not None),
    "Identity": lambda module: Identity(),
    "Sigmoid": lambda module: Sigmoid(),
    "Tanh": lambda module: Tanh(),
    "ReLU": lambda module: ReLU(),
    "LeakyReLU": lambda module: LeakyReLU(module.negative_slope),
    "ELU": lambda module: ELU(module.alpha),
    "GELU": _gelu,
    "SiLU": lambda module: SiLU(),
    "Softplus": _softplus,
    "Softmax": _softmax,
    "Dropout": _dropout,
    "Flatten": _flatten,
}
"""For each module of ``torch.nn`` that is known: the layer that does the same, or why there is none."""


def from_torch(module: Any, *, backend: str | None = None) -> Sequential:
    """Return an ``nn.Sequential`` of PyTorch as a network with the same weights.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, activations, Dropout, Identity, Flatten and other Sequentials. The network has its dtype.
    backend : str, optional
        As for ``Sequential``.

    Returns
    -------
    net : Sequential
        Predicts what ``module.eval()`` does. (Where PyTorch's ``Softplus`` takes a shortcut above its threshold of 20,
        they differ by up to 2e-9.)

    Raises
    ------
    DependencyError
        If PyTorch is not installed.
    TypeError
        If it is not an ``nn.Sequential``.
    ValueError
        If it has modules that tinynet does not know, all of which are named, or weights that are neither float32 nor
        float64.

    Examples
    --------
    >>> from torch import nn  # doctest: +SKIP
    >>> from_torch(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))  # doctest: +SKIP
    Sequential(Linear(4, 5), Tanh(), Linear(5, 3), dtype='float32', backend='numba')
    """
    try:
        from torch import nn
    except ImportError as error:
        raise requires("torch", "from_torch", "pip install torch") from error
    if type(module) is not nn.Sequential:
        raise TypeError(f"from_torch expects a torch.nn.Sequential; got {type(module).__name__}. Wrap it in one.")
    layers: list[Layer] = []
    problems = ["the Sequential itself (it has forward hooks)"] * _hooks(module)
    for name, child in _flat(module, nn):
        layer = _layer(child, nn)
        if isinstance(layer, Layer):
            layers.append(layer)
        else:
            problems.append(f"{name}: {child} ({layer})")
    if problems:
        raise ValueError(
            f"from_torch cannot take over {'; '.join(problems)}. It knows {', '.join(MODULES)} and Sequential."
        )
    values, dtypes = [], set()
    for _, child in _flat(module, nn):
        if isinstance(child, nn.Linear):
            dtypes |= {str(parameter.dtype).removeprefix("torch.") for parameter in child.parameters()}
            arrays = [child.weight.T] if child.bias is None else [child.weight.T, child.bias]
            values += [array.detach().cpu().double().numpy().ravel() for array in arrays]
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(
            f"from_torch expects Linear modules of one dtype, float32 or float64; got {sorted(dtypes) or 'none'}. "
            "Convert with module.float() or module.double()."
        )
    return Sequential(layers, dtype=dtypes.pop(), backend=backend, initial_values=np.concatenate(values))


def _flat(module: Any, nn: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the modules in the order in which they run, with their names."""
    # named_children() leaves out a module that comes a second time.
    for name, child in module._modules.items():
        if type(child) is nn.Sequential and not _hooks(child):
            yield from _flat(child, nn, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def _layer(module: Any, nn: Any) -> Layer | Problem:
    name = type(module).__name__
    # A subclass may compute something else.
    if name not in MODULES or type(module) is not getattr(nn, name):
        return "unknown"
    return "it has forward hooks" if _hooks(module) else MODULES[name](module)


def _hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
