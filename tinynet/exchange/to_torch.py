"""Networks for PyTorch: an ``nn.Sequential`` of its own modules, with copies of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from numpy.typing import NDArray

from tinynet.base.errors import requires
from tinynet.exchange.parts import Parts, refuse_layers
from tinynet.layers.layer import Layer

Arrays = Mapping[str, NDArray[Any]]


def _linear(nn: Any, layer: Layer, arrays: Arrays, dtype: Any) -> Any:
    import torch

    module = nn.Linear(layer.n_in, layer.n_out, bias="bias" in arrays, dtype=dtype)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(arrays["weight"].T.copy()))
        if "bias" in arrays:
            module.bias.copy_(torch.from_numpy(arrays["bias"].copy()))
    for parameter in module.parameters():
        parameter.requires_grad_(layer.trainable)
    return module


def _standardize(nn: Any, layer: Layer, arrays: Arrays, dtype: Any) -> Any:
    return _standardize_class()(*arrays.values(), dtype)


def _blocks(nn: Any, layer: Layer, arrays: Arrays, dtype: Any) -> Any:
    return _blocks_class()(type(layer).__name__, layer.blocks, layer.parameter)


def _norm(nn: Any, layer: Layer, arrays: Arrays, dtype: Any) -> Any:
    import torch

    if type(layer).__name__ == "LayerNorm":
        module = nn.LayerNorm(layer.n_in, layer.eps, elementwise_affine=layer.affine, dtype=dtype)
    else:
        module = nn.BatchNorm1d(layer.n_in, layer.eps, layer.momentum, layer.affine, dtype=dtype)
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.from_numpy(array.copy()))
    for parameter in module.parameters():
        parameter.requires_grad_(layer.trainable)
    return module


def _residual(nn: Any, layer: Any, arrays: Arrays, dtype: Any) -> Any:
    modules, projection = [], None
    for i, inner in enumerate(layer.layers):
        own = {name: arrays[f"{i}.{name}"] for name in inner.parameter_names}
        modules.append(MODULES[type(inner).__name__](nn, inner, own, dtype))
    if "projection.weight" in arrays:
        projection = _linear(nn, layer, {"weight": arrays["projection.weight"]}, dtype)
    made = _residual_class()(modules, projection)
    for parameter in made.parameters():
        parameter.requires_grad_(layer.trainable)
    return made


def _embedding(nn: Any, layer: Any, arrays: Arrays, dtype: Any) -> Any:
    import torch

    tables = []
    for array in arrays.values():
        tables.append(nn.Embedding(*array.shape, dtype=dtype))
        with torch.no_grad():
            tables[-1].weight.copy_(torch.from_numpy(array.copy()))
        tables[-1].weight.requires_grad_(layer.trainable)
    return _embedding_class()(layer.op(layer.n_in, 0).pieces, tables)


MODULES: dict[str, Callable[[Any, Any, Arrays, Any], Any]] = {
    "Linear": _linear,
    "Normalize": _standardize,
    "Denormalize": _standardize,
    "Identity": lambda nn, layer, arrays, dtype: nn.Identity(),
    "Sigmoid": lambda nn, layer, arrays, dtype: nn.Sigmoid(),
    "Tanh": lambda nn, layer, arrays, dtype: nn.Tanh(),
    "ReLU": lambda nn, layer, arrays, dtype: nn.ReLU(),
    "LeakyReLU": lambda nn, layer, arrays, dtype: nn.LeakyReLU(layer.alpha),
    "ELU": lambda nn, layer, arrays, dtype: nn.ELU(layer.alpha),
    "GELU": lambda nn, layer, arrays, dtype: nn.GELU(),
    "SiLU": lambda nn, layer, arrays, dtype: nn.SiLU(),
    # Up to its threshold PyTorch computes the formula; above it z itself, which is within rounding of it from 40 on.
    "Softplus": lambda nn, layer, arrays, dtype: nn.Softplus(threshold=40),
    "Softmax": lambda nn, layer, arrays, dtype: nn.Softmax(dim=1),
    "Increasing": _blocks,
    "MeanVariance": _blocks,
    "Dropout": lambda nn, layer, arrays, dtype: nn.Dropout(layer.rate),
    "LayerNorm": _norm,
    "BatchNorm": _norm,
    "Residual": _residual,
    "Embedding": _embedding,
}
"""For each layer by its class: the module of PyTorch that does the same."""


def as_torch(parts: Parts) -> Any:
    """Return the network as an ``nn.Sequential``; see ``Sequential.to_torch``."""
    try:
        import torch
    except ImportError as error:
        raise requires("torch", "to_torch", "pip install torch") from error
    refuse_layers(parts, MODULES, "to_torch")
    dtype = getattr(torch, parts.dtype)
    modules = (
        MODULES[type(layer).__name__](torch.nn, layer, arrays, dtype)
        for layer, arrays in zip(parts.layers, parts.arrays, strict=True)
    )
    return torch.nn.Sequential(*modules).eval()


@cache
def _standardize_class() -> Any:
    import torch

    class Standardize(torch.nn.Module):  # type: ignore[misc]
        """``(x - mean) / scale`` in float64, rounded to the dtype of the network."""

        def __init__(self, mean: NDArray[Any], scale: NDArray[Any], dtype: Any) -> None:
            super().__init__()
            self.dtype = dtype
            for name, values in (("mean", mean), ("scale", scale)):
                self.register_buffer(name, torch.from_numpy(values.astype("float64")))

        def forward(self, x: Any) -> Any:
            return ((x.double() - self.mean.double()) / self.scale.double()).to(self.dtype)

    return Standardize


@cache
def _blocks_class() -> Any:
    import torch

    class Outputs(torch.nn.Module):  # type: ignore[misc]
        """Several outputs for each target: those of ``Increasing``, or of ``MeanVariance``."""

        def __init__(self, kind: str, blocks: int, floor: float) -> None:
            super().__init__()
            self.kind, self.blocks, self.floor = kind, blocks, floor

        def forward(self, x: Any) -> Any:
            first, *others = torch.chunk(x, self.blocks, dim=1)
            outputs = [first]
            for other in others:
                step = torch.nn.functional.softplus(other, threshold=40)
                outputs.append(outputs[-1] + step if self.kind == "Increasing" else step + self.floor)
            return torch.cat(outputs, dim=1)

    return Outputs


@cache
def _residual_class() -> Any:
    import torch

    class Residual(torch.nn.Module):  # type: ignore[misc]
        """``x + f(x)``; or ``projection(x) + f(x)``."""

        def __init__(self, modules: list[Any], projection: Any) -> None:
            super().__init__()
            for i, module in enumerate(modules):
                self.add_module(str(i), module)
            self.n, self.projection = len(modules), projection

        def forward(self, x: Any) -> Any:
            y = x
            for i in range(self.n):
                y = getattr(self, str(i))(y)
            return y + (x if self.projection is None else self.projection(x))

    return Residual


@cache
def _embedding_class() -> Any:
    import torch

    class Levels(torch.nn.Module):  # type: ignore[misc]
        """Columns of levels as vectors; the others pass."""

        def __init__(self, pieces: Any, tables: list[Any]) -> None:
            super().__init__()
            self.pieces = pieces
            self.tables = torch.nn.ModuleList(tables)

        def forward(self, x: Any) -> Any:
            found = []
            for source, _, table in self.pieces:
                columns = x[:, source]
                found.append(columns if table < 0 else self.tables[table](columns[:, 0].round().long()))
            return torch.cat(found, dim=1)

    return Levels
