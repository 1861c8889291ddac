"""Networks that PyTorch has trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from tinynet.base.errors import requires
from tinynet.exchange.parts import Parts
from tinynet.layers import (
    ELU,
    GELU,
    BatchNorm,
    Dropout,
    Identity,
    LayerNorm,
    LeakyReLU,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinynet.layers.layer import Layer

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


def _layer_norm(module: Any) -> Layer | Problem:
    if len(module.normalized_shape) != 1:
        return f"normalized_shape={tuple(module.normalized_shape)}; expected the columns alone"
    if module.elementwise_affine and module.bias is None:
        return "bias=False; expected weight and bias, or neither"
    return LayerNorm(module.normalized_shape[0], module.eps, module.elementwise_affine)


def _batch_norm(module: Any) -> Layer | Problem:
    if not module.track_running_stats or module.momentum is None:
        return "expected running statistics that follow with a momentum"
    return BatchNorm(module.num_features, module.eps, module.momentum, module.affine)


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
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
}
"""For each module of ``torch.nn`` that is known: the layer that does the same, or why there is none."""


def taken_apart(module: Any) -> Parts:
    """Return the parts of an ``nn.Sequential``; see ``tinynet.from_torch``."""
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
    arrays: list[dict[str, NDArray[Any]]] = []
    dtypes = set()
    for _, child in _flat(module, nn):
        held = {name: value for name, value in child.state_dict().items() if name != "num_batches_tracked"}
        dtypes |= {str(tensor.dtype).removeprefix("torch.") for tensor in held.values()}
        if isinstance(child, nn.Linear):
            held["weight"] = held["weight"].T
        arrays.append({name: tensor.detach().cpu().double().numpy() for name, tensor in held.items()})
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(
            f"from_torch expects modules of one dtype, float32 or float64; got {sorted(dtypes) or 'none'}. "
            "Convert with module.float() or module.double()."
        )
    return Parts(tuple(layers), dtypes.pop(), tuple(arrays))


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
