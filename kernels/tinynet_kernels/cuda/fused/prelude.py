"""The text that tells a fused kernel which network it is for: sizes and kinds as constants of C++.

What description.cuh documents is written here. Two networks with the same text share the machine code; numbers that a
user may turn (learning rates, momentum, dropout rates, ...) are no part of it. Nor are sizes, of kernels that have them
as an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, n_targets
from tinynet_kernels.network import Layer, Network, Setting

REALS = {"float32": ("float", 4), "float64": ("double", 8)}
"""What C++ calls a dtype, and its bytes."""

_LABEL_BYTES = 8
_ALIGNMENT = 16

STAGE_SIZES = ("n_in", "n_out", "weight_at", "held", "y", "z", "d", "stride")
"""What ``StageSizes`` of description.cuh has of a stage, in its order."""

_CONSTANT_PLACES = ("bias_at", "w", "ld", "b")
"""What else the text of a stage says of places; only kernels whose sizes are constants read it."""


class Shape(NamedTuple):
    """How a kernel is cut for a network.

    Attributes
    ----------
    rows : int
        Most samples that go through the network together.
    threads : int
        That share a tile: all those of a block, or the 32 of a warp.
    batch : int
        Samples of an update: an argument of the kernels, whose code depends only on whether they are one tile.
    padded : bool
        Whether rows are padded for vector loads, and weights against bank conflicts: in shared memory.
    moments_shared : bool
        Whether what the optimizer remembers is in shared memory, too.
    staged : int
        Samples that are brought to shared memory together where models are threads.
    summed : bool
        Whether gradients are summed in shared memory even if a batch is one tile.
    blocks : int
        Blocks that should fit on a multiprocessor at a time. It bounds the registers of a thread.
    warps : int
        Models of a block, each with a warp and a part of shared memory of its own; 0: the block has one model.
    sizes_given : bool
        Whether sizes and places are an argument of the kernels, rather than constants: one code for all widths.
    """

    rows: int
    threads: int
    batch: int = 1
    padded: bool = True
    moments_shared: bool = True
    staged: int = 1
    summed: bool = False
    blocks: int = 1
    warps: int = 0
    sizes_given: bool = False

    @property
    def models(self) -> int:
        """Models of a block, where they are not threads."""
        return max(1, self.warps)


class Prelude(NamedTuple):
    """A network's text, and what its kernel needs.

    Attributes
    ----------
    text : str
    shared_bytes : int
        Of a block's dynamic shared memory, where parameters and activations lie there.
    n_state : int
        Numbers that hold parameters, gradients and moments, where they lie in registers.
    n_memory : int
        Numbers that hold what lies between the layers.
    n_parameters : int
    row_slots, x_stride : int
        Rows that there is room for, and the step from one row of samples to the next.
    scale : float
        Of the loss.
    sizes : tuple of int
        What ``Sizes`` of network.cuh has beside it, for kernels whose sizes are given.
    """

    text: str
    shared_bytes: int
    n_state: int
    n_memory: int
    n_parameters: int
    row_slots: int
    x_stride: int
    scale: float
    sizes: tuple[int, ...]

    def argument(self) -> NDArray[np.void]:
        """Return ``Sizes`` as an argument of kernels: CuPy passes an array of one element by value."""
        fields = [("scale", np.float64), ("sizes", np.int32, len(self.sizes))]
        return np.array((self.scale, self.sizes), np.dtype(fields, align=True))


def numbers_of(network: Network, n_models: int) -> list[list[float]]:
    """Return each model's numbers: settings of the optimizer, limits of clipping, parameter of the loss, rates."""
    return [[_member(setting, model) for setting in _settings(network)] for model in range(n_models)]


def prelude(network: Network, shape: Shape) -> Prelude:
    """Write the text for a network."""
    layout, traits = _Layout(network, shape), _Traits(network)
    shared, places = _shared_memory(network, shape, layout, traits)
    constants = _constants(network, shape, layout, traits)
    if not shape.sizes_given:
        constants |= _sizes(network, shape, layout) | places
    return Prelude(
        text=_text(network, shape, layout.stages, constants),
        shared_bytes=shape.models * shared * REALS[network.dtype][1],
        n_state=(2 + traits.n_moments) * layout.parameters,
        n_memory=layout.memory,
        n_parameters=layout.parameters,
        row_slots=layout.slots,
        x_stride=layout.x_stride,
        scale=network.loss.scale,
        sizes=(layout.parameters, *layout.sizes),
    )


def row_slots(rows: int) -> int:
    """Return for how many rows there is room: threads read whole tiles, of 8 rows or the next smaller power of two."""
    unit = 1 << min(3, rows.bit_length() - 1)
    return -(-rows // unit) * unit


class _Layout:
    """Where everything lies, counted in numbers of the network's dtype.

    Attributes
    ----------
    stages : list of str
        The specialisations of Stage.
    sizes : list of int
        What ``STAGE_SIZES`` names, of all stages.
    parameters, held : int
        Sizes of the flat vectors of parameters and of buffers.
    copy : int
        Of the kernel's own copy of the parameters.
    dropouts : int
    slots, memory : int
        Rows that there is room for, and what lies between the layers, for so many.
    x_stride, n_targets, t_size : int
        The step from one row of samples to the next, targets of a sample, and room for those of all rows.
    """

    def __init__(self, network: Network, shape: Shape) -> None:
        size = REALS[network.dtype][1]
        self._network, self._padded, self._sizes_given = network, shape.padded, shape.sizes_given
        self.sizes = list[int]()
        self._unit = _ALIGNMENT // size if shape.padded else 1
        self.slots = row_slots(shape.rows)
        self.parameters = self.held = self.copy = self.dropouts = self.memory = 0
        self.stages = [self._stage(i, layer) for i, layer in enumerate(network.layers)]
        self.x_stride = self.aligned(network.layers[0].n_in)
        label = LOSSES[network.loss.kind].index_target
        self.n_targets = n_targets(network.loss.kind, network.layers[-1].n_out)
        self.t_size = self.aligned(-(-self.slots * self.n_targets * (_LABEL_BYTES if label else size) // size))

    def aligned(self, count: int) -> int:
        """Return where something may begin after so many numbers."""
        return -(-count // self._unit) * self._unit

    def _stage(self, i: int, layer: Layer) -> str:
        """Write a stage after those before it."""
        softmax = layer.activation == "softmax"
        kind = "identity" if softmax else layer.activation
        keeps = _kept(self._network, i)
        fields: dict[str, Any] = {"n_in": layer.n_in, "n_out": layer.n_out, "bias": layer.bias}
        fields |= {"softmax": softmax, "is_identity": kind == "identity", "keeps_y": keeps["y"]}
        fields |= self._weights(layer)
        fields |= {"held": self.held, "dropout": self.dropouts, "place": layer.place}
        self.held += 2 * layer.n_out if layer.kind == "normalize" else 0
        self.dropouts += layer.kind == "dropout"
        fields["stride"] = stride = self.aligned(layer.n_out)
        for name, kept in keeps.items():
            fields[name] = self.memory
            self.memory += kept * self.slots * stride
        self.sizes += [fields[name] for name in STAGE_SIZES]
        if self._sizes_given:
            fields = {name: fields[name] for name in fields if name not in STAGE_SIZES + _CONSTANT_PLACES}
        alpha = layer.alpha if layer.kind != "dropout" else 0.0
        return _stage(i, layer.kind, kind, float(alpha if isinstance(alpha, float | int) else 0.0), fields)

    def _weights(self, layer: Layer) -> dict[str, object]:
        """Return where a layer's weight and bias are in the flat vector and in the copy."""
        if layer.kind != "linear":
            return {"weight_at": 0, "bias_at": 0, "w": 0, "ld": 1, "b": 0}
        n_weights, n_biases = layer.n_in * layer.n_out, layer.bias * layer.n_out
        ld = layer.n_out | 1 if self._padded else layer.n_out
        flat, copy = self.parameters, self.copy
        self.parameters += n_weights + n_biases
        self.copy += layer.n_in * ld + n_biases
        return {"weight_at": flat, "bias_at": flat + n_weights, "w": copy, "ld": ld, "b": copy + layer.n_in * ld}


def _kept(network: Network, i: int) -> dict[str, bool]:
    """Return what a stage keeps for the way back: its output, what its derivative needs beside, its gradient."""
    layer = network.layers[i]
    above = network.layers[i + 1] if i + 1 < len(network.layers) else None
    softmax = layer.activation == "softmax"
    kind = "identity" if softmax else layer.activation
    reads_z = ACTIVATIONS[kind].reads_z
    return {
        "y": softmax
        or (above is not None and above.kind == "linear")
        or (kind != "identity" and not reads_z)
        or (above is None and not LOSSES[network.loss.kind].elementwise),
        "z": reads_z or layer.kind == "dropout",
        "d": layer.kind == "linear" or softmax or above is None,
    }


class _Traits:
    """What the optimizer does; for many models, what it does for any of them."""

    def __init__(self, network: Network) -> None:
        settings = network.optimizer.settings
        self.momentum = self.nesterov = self.centered = False
        match network.optimizer.kind:
            case "sgd":
                momentum, nesterov, decay = settings
                self.momentum, self.nesterov = _any(momentum), _any(nesterov)
                self.n_moments = int(self.momentum)
            case "rmsprop":
                _, _, decay, momentum, centered = settings
                self.momentum, self.centered = _any(momentum), _any(centered)
                self.n_moments = 1 + self.momentum + self.centered
            case _:
                decay = settings[3]
                self.n_moments = 2
        self.decays = _any(decay)


def _direct(network: Network, shape: Shape) -> bool:
    """Whether a gradient goes into the update as it is summed: a batch is one tile, and nothing looks at all of it."""
    return shape.rows >= shape.batch and network.optimizer.clip_norm is None and not shape.summed


def _shared_memory(network: Network, shape: Shape, layout: _Layout, traits: _Traits) -> tuple[int, dict[str, object]]:
    """Return how many numbers of shared memory a model takes, and where in them its arrays begin."""
    sizes = {
        "parameters": layout.copy,
        "gradients": 0 if _direct(network, shape) else layout.copy,
        "moments": traits.n_moments * layout.copy if shape.moments_shared else 0,
        "held": layout.held,
        "memory": layout.memory,
        "x": 2 * layout.slots * layout.x_stride,
        "weight": 2 * layout.aligned(layout.slots) if network.weighted else 0,
        "t": 2 * layout.t_size,
    }
    places: dict[str, object] = {}
    place = 0
    for name, count in sizes.items():
        places[f"at_{name}"] = place
        place += layout.aligned(count)
    return place, places | {"shared_size": place}


def _constants(network: Network, shape: Shape, layout: _Layout, traits: _Traits) -> dict[str, object]:
    """Return what the text says of the whole network, whatever its sizes."""
    layers, optimizer, loss = network.layers, network.optimizer, network.loss
    n_settings, n_numbers = len(optimizer.settings), len(_settings(network))
    first_rate = n_numbers - layout.dropouts
    return {
        "n_stages": len(layers),
        "first_linear": next((i for i, layer in enumerate(layers) if layer.kind == "linear"), len(layers)),
        "n_dropouts": layout.dropouts,
        "n_moments": traits.n_moments,
        "n_settings": n_settings,
        "clip_norm": n_settings,
        "clip_value": n_settings + (optimizer.clip_norm is not None),
        "parameter": first_rate - 1,
        "first_rate": first_rate,
        "n_numbers": n_numbers,
        "threads": shape.threads,
        "staged": shape.staged,
        "blocks": shape.blocks,
        "models": shape.models,
        "clips_norm": optimizer.clip_norm is not None,
        "clips_value": optimizer.clip_value is not None,
        "uses_momentum": traits.momentum,
        "nesterov": traits.nesterov,
        "centered": traits.centered,
        "decays": traits.decays,
        "weighted": network.weighted,
        "mean": loss.mean,
        "labels": LOSSES[loss.kind].index_target,
        "outputs": LOSSES[loss.kind].outputs,
        "elementwise_loss": LOSSES[loss.kind].elementwise,
        "direct": _direct(network, shape),
        "moments_shared": shape.moments_shared,
        "sizes_given": shape.sizes_given,
    }


def _sizes(network: Network, shape: Shape, layout: _Layout) -> dict[str, object]:
    """Return the sizes of the whole network, but not where its arrays are in shared memory."""
    return {
        "n_in": network.layers[0].n_in,
        "n_out": network.layers[-1].n_out,
        "n_targets": layout.n_targets,
        "n_parameters": layout.parameters,
        "n_held": layout.held,
        "scale": float(network.loss.scale),
        "rows": shape.rows,
        "copy_size": layout.copy,
        "memory_size": max(1, layout.memory),
        "x_stride": layout.x_stride,
        "x_size": layout.slots * layout.x_stride,
        "t_size": layout.t_size,
        "weight_size": layout.aligned(layout.slots),
    }


def _settings(network: Network) -> list[Setting]:
    optimizer = network.optimizer
    limits = [limit for limit in (optimizer.clip_norm, optimizer.clip_value) if limit is not None]
    rates = [layer.alpha for layer in network.layers if layer.kind == "dropout"]
    return [*optimizer.settings, *limits, network.loss.parameter, *rates]


def _member(setting: Setting, model: int) -> float:
    return float(setting[model] if isinstance(setting, tuple) else setting)


def _any(setting: Setting) -> bool:
    return any(setting) if isinstance(setting, tuple) else bool(setting)


def _text(network: Network, shape: Shape, stages: list[str], constants: dict[str, object]) -> str:
    real, loss = REALS[network.dtype][0], network.loss.kind
    activations = sorted({"identity", *(layer.activation for layer in network.layers)} - {"softmax"})
    return "\n".join(
        [
            "namespace tinynet {",
            "namespace activation {",
            *(f"struct {kind};" for kind in activations),
            "}",
            f"namespace loss {{ struct {loss}; }}",
            *stages,
            "namespace net {",
            f"using Real = {real};",
            f"using Target = {'long long' if LOSSES[loss].index_target else real};",
            f"using Loss = loss::{loss};",
            f"using Team = {'Warp' if shape.warps else 'Block'};",
            f"constexpr Optimizer optimizer = Optimizer::{network.optimizer.kind};",
            *(_constant(name, value) for name, value in constants.items()),
            "}",
            "}  // namespace tinynet",
            "",
        ]
    )


def _stage(i: int, op: str, activation: str, alpha: float, fields: dict[str, object]) -> str:
    lines: Iterator[str] = (f"    static {_constant(name, value)}" for name, value in fields.items())
    return "\n".join(
        [
            f"template <> struct Stage<{i}> {{",
            f"    static constexpr Op op = Op::{op};",
            f"    using Activation = activation::{activation};",
            f"    static constexpr double alpha = {alpha!r};",
            *lines,
            "};",
        ]
    )


def _constant(name: str, value: object) -> str:
    match value:
        case bool():
            return f"constexpr bool {name} = {str(value).lower()};"
        case float():
            return f"constexpr double {name} = {value!r};"
        case _:
            return f"constexpr int {name} = {value};"


__all__ = ["REALS", "Layer", "Prelude", "Shape", "numbers_of", "prelude", "row_slots"]
