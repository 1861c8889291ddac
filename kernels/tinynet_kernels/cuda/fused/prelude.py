"""The text that tells a fused kernel which network it is for: sizes and kinds as constants of C++.

What description.cuh documents is written here. Two networks with the same text share the machine code; numbers that a
user may turn (learning rates, momentum, dropout rates, ...) are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES
from tinynet_kernels.network import Layer, Network, Setting

REALS = {"float32": ("float", 4), "float64": ("double", 8)}
"""What C++ calls a dtype, and its bytes."""

_LABEL_BYTES = 8
_ALIGNMENT = 16


class Shape(NamedTuple):
    """How a kernel is cut for a network.

    Attributes
    ----------
    rows : int
        Samples that go through the network together.
    threads : int
        That share a tile: all those of a block, or the 32 of a warp.
    batch : int
        Samples of an update.
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
    """

    text: str
    shared_bytes: int
    n_state: int
    n_memory: int
    n_parameters: int
    row_slots: int
    x_stride: int


def numbers_of(network: Network, n_models: int) -> list[list[float]]:
    """Return each model's numbers: settings of the optimizer, limits of clipping, parameter of the loss, rates."""
    return [[_member(setting, model) for setting in _settings(network)] for model in range(n_models)]


def prelude(network: Network, shape: Shape) -> Prelude:
    """Write the text for a network."""
    places = _Places(shape.padded, REALS[network.dtype][1])
    layers = network.layers
    linear = [i for i, layer in enumerate(layers) if layer.kind == "linear"]
    first_linear = linear[0] if linear else len(layers)
    slots = row_slots(shape.rows)
    stages = []
    flat = held = dropouts = copy = memory = 0
    n_before_rates = len(_settings(network)) - sum(layer.kind == "dropout" for layer in layers)
    for i, layer in enumerate(layers):
        fields: dict[str, object] = {"n_in": layer.n_in, "n_out": layer.n_out, "bias": layer.bias}
        softmax = layer.activation == "softmax"
        kind = "identity" if softmax else layer.activation
        above = layers[i + 1] if i + 1 < len(layers) else None
        reads_z = ACTIVATIONS[kind].reads_z
        keeps_y = (
            softmax
            or (above is not None and above.kind == "linear")
            or (kind != "identity" and not reads_z)
            or (above is None and not LOSSES[network.loss.kind].elementwise)
        )
        keeps_z = reads_z or layer.kind == "dropout"
        keeps_d = layer.kind == "linear" or softmax or above is None
        fields |= {"softmax": softmax, "is_identity": kind == "identity", "keeps_y": keeps_y}
        if layer.kind == "linear":
            ld = layer.n_out | 1 if shape.padded else layer.n_out
            fields |= {"weight_at": flat, "bias_at": flat + layer.n_in * layer.n_out}
            fields |= {"w": copy, "ld": ld, "b": copy + layer.n_in * ld}
            flat += layer.n_in * layer.n_out + layer.bias * layer.n_out
            copy += layer.n_in * ld + layer.bias * layer.n_out
        else:
            fields |= {"weight_at": 0, "bias_at": 0, "w": 0, "ld": 1, "b": 0}
        fields |= {"held": held, "dropout": dropouts, "place": layer.place}
        if layer.kind == "normalize":
            held += 2 * layer.n_out
        dropouts += layer.kind == "dropout"
        stride = places.stride(layer.n_out)
        fields["stride"] = stride
        for name, kept in (("y", keeps_y), ("z", keeps_z), ("d", keeps_d)):
            fields[name] = memory
            memory += kept * slots * stride
        alpha = layer.alpha if layer.kind != "dropout" else 0.0
        stages.append(_stage(i, layer.kind, kind, float(alpha if isinstance(alpha, float | int) else 0.0), fields))

    optimizer, loss = network.optimizer, network.loss
    traits = _Traits(network)
    n_settings = len(optimizer.settings)
    label = LOSSES[loss.kind].index_target
    real, size = REALS[network.dtype]
    n_targets = 1 if label else layers[-1].n_out
    t_size = places.aligned(-(-slots * n_targets * (_LABEL_BYTES if label else size) // size))
    x_stride = places.stride(layers[0].n_in)
    direct = shape.rows >= shape.batch and optimizer.clip_norm is None and not shape.summed
    sizes = {
        "parameters": copy,
        "gradients": 0 if direct else copy,
        "moments": traits.n_moments * copy if shape.moments_shared else 0,
        "held": held,
        "memory": memory,
        "x": 2 * slots * x_stride,
        "weight": 2 * places.aligned(slots) if network.weighted else 0,
        "t": 2 * t_size,
    }
    constants: dict[str, object] = {
        "n_stages": len(layers),
        "first_linear": first_linear,
        "n_in": layers[0].n_in,
        "n_out": layers[-1].n_out,
        "n_targets": n_targets,
        "n_parameters": flat,
        "n_held": held,
        "n_dropouts": dropouts,
        "n_moments": traits.n_moments,
        "n_settings": n_settings,
        "clip_norm": n_settings,
        "clip_value": n_settings + (optimizer.clip_norm is not None),
        "parameter": n_before_rates - 1,
        "first_rate": n_before_rates,
        "n_numbers": len(_settings(network)),
        "rows": shape.rows,
        "threads": shape.threads,
        "batch": shape.batch,
        "staged": shape.staged,
        "blocks": shape.blocks,
        "models": shape.models,
        "copy_size": copy,
        "memory_size": max(1, memory),
        "x_stride": x_stride,
        "x_size": slots * x_stride,
        "t_size": t_size,
        "weight_size": places.aligned(slots),
        "clips_norm": optimizer.clip_norm is not None,
        "clips_value": optimizer.clip_value is not None,
        "uses_momentum": traits.momentum,
        "nesterov": traits.nesterov,
        "centered": traits.centered,
        "decays": traits.decays,
        "weighted": network.weighted,
        "mean": loss.mean,
        "elementwise_loss": LOSSES[loss.kind].elementwise,
        "scale": float(loss.scale),
        "direct": direct,
        "moments_shared": shape.moments_shared,
    }
    place = 0
    for name, count in sizes.items():
        constants[f"at_{name}"] = place
        place += places.aligned(count)
    constants["shared_size"] = place
    activations = sorted({"identity", *(layer.activation for layer in layers)} - {"softmax"})
    text = "\n".join(
        [
            "namespace tinynet {",
            "namespace activation {",
            *(f"struct {kind};" for kind in activations),
            "}",
            f"namespace loss {{ struct {loss.kind}; }}",
            *stages,
            "namespace net {",
            f"using Real = {real};",
            f"using Target = {'long long' if label else real};",
            f"using Loss = loss::{loss.kind};",
            f"using Team = {'Warp' if shape.warps else 'Block'};",
            f"constexpr Optimizer optimizer = Optimizer::{optimizer.kind};",
            *(_constant(name, value) for name, value in constants.items()),
            "}",
            "}  // namespace tinynet",
            "",
        ]
    )
    return Prelude(text, shape.models * place * size, (2 + traits.n_moments) * flat, memory, flat, slots, x_stride)


def row_slots(rows: int) -> int:
    """Return for how many rows there is room: threads read whole tiles, of 8 rows or the next smaller power of two."""
    unit = 1 << min(3, rows.bit_length() - 1)
    return -(-rows // unit) * unit


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


class _Places:
    """Where arrays begin, in numbers of the network's dtype."""

    def __init__(self, padded: bool, size: int) -> None:
        self._unit = _ALIGNMENT // size if padded else 1

    def aligned(self, count: int) -> int:
        return -(-count // self._unit) * self._unit

    def stride(self, columns: int) -> int:
        return self.aligned(columns)


def _settings(network: Network) -> list[Setting]:
    optimizer = network.optimizer
    limits = [limit for limit in (optimizer.clip_norm, optimizer.clip_value) if limit is not None]
    rates = [layer.alpha for layer in network.layers if layer.kind == "dropout"]
    return [*optimizer.settings, *limits, network.loss.parameter, *rates]


def _member(setting: Setting, model: int) -> float:
    return float(setting[model] if isinstance(setting, tuple) else setting)


def _any(setting: Setting) -> bool:
    return any(setting) if isinstance(setting, tuple) else bool(setting)


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
