"""Small: what the two ways for small networks share, whose sizes are all in the code.

A network of a hundred parameters takes less time to compute than the steps of a table take to be called. So there is
one function for each architecture, in which no loop is left but those over samples: ``samples`` has the samples of a
batch side by side in the lanes, ``registers`` the units of a layer, for one sample after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of
from tinynet_kernels.cpu.generated.data import read, source_of
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Code, Value
from tinynet_kernels.cpu.generated.ir_types import I64
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES
from tinynet_kernels.network import Layer, Network


class Small(NamedTuple):
    """A small network as text, which names its unit, and back.

    Attributes
    ----------
    layers : tuple of Layer
    loss : str
    parameter : float
        Of the loss.
    x, y, weight : str
        Dtypes of the data; ``weight`` is empty without weights.
    batch : int
        Rows, as far as the code depends on it.
    step : tuple of str
        The optimizer and its flags, if it is part of the code.
    """

    layers: tuple[Layer, ...]
    loss: str
    parameter: float
    x: str
    y: str
    weight: str
    batch: int
    step: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as text.

        Examples
        --------
        >>> layer = Layer("linear", 4, 3, True, "tanh")
        >>> Small((layer,), "mse", 0.0, "<f4", "<f4", "", 10).text()
        'mse;0.0;<f4;<f4;;10;;4 3 1 tanh 0.0'
        """
        layers = "/".join(
            f"{layer.n_in} {layer.n_out} {int(layer.bias)} {layer.activation} {float_of(layer.alpha)}"
            for layer in self.layers
        )
        parts = (self.loss, self.parameter, self.x, self.y, self.weight, self.batch, " ".join(self.step), layers)
        return ";".join(map(str, parts))

    @classmethod
    def of(cls, text: str) -> Small:
        """Return what ``text`` made text of."""
        loss, parameter, x, y, weight, batch, step, layers = text.split(";")
        found = []
        for layer in layers.split("/"):
            n_in, n_out, bias, activation, alpha = layer.split(" ")
            found.append(Layer("linear", int(n_in), int(n_out), bias == "1", activation, float(alpha)))
        return cls(tuple(found), loss, float(parameter), x, y, weight, int(batch), tuple(step.split()))


def float_of(setting: float | tuple[float, ...]) -> float:
    """Return the setting of one model."""
    assert not isinstance(setting, tuple), "one model has one value of a setting"
    return float(setting)


def is_plain(network: Network) -> bool:
    """Whether a network is made of what can be written without loops."""
    loss = network.loss
    plain = all(
        layer.kind == "linear" and not layer.frozen and ACTIVATIONS[layer.activation].elementwise
        for layer in network.layers
    )
    traits = LOSSES[loss.kind]
    known = traits.elementwise or traits.outputs > 1 or loss.kind in ("cross_entropy", "cross_entropy_index")
    return plain and known and loss.slopes is None and not loss.l2 and not network.decays


def n_parameters(layers: Sequence[Layer]) -> int:
    """Return the number of parameters."""
    return sum((layer.n_in + layer.bias) * layer.n_out for layer in layers)


def activate(code: Code, layer: Layer, z: Value) -> Value:
    """Return ``f(z)``."""
    write = Writer(code, {"z": z, "alpha": code.constant(z.kind, float_of(layer.alpha))})
    value, _ = formulas.ACTIVATIONS[layer.activation].terms
    return write(value)


def slope(code: Code, layer: Layer, z: Value, y: Value) -> Value:
    """Return ``f'(z)``."""
    write = Writer(code, {"z": z, "y": y, "alpha": code.constant(z.kind, float_of(layer.alpha))})
    _, derivative = formulas.ACTIVATIONS[layer.activation].terms
    return write(derivative)


def elementwise_loss(code: Code, net: Small, p: Value, t: Value) -> tuple[Value, Value]:
    """Return the value of an elementwise loss and its derivative."""
    write = Writer(code, {"p": p, "t": t, "parameter": code.constant(p.kind, net.parameter)})
    value, derivative = formulas.LOSSES[net.loss].terms
    return write(value), write(derivative)


def blocks_loss(code: Code, net: Small, p: Sequence[Value], t: Sequence[Value]) -> tuple[Value, list[Value]]:
    """Return the value of a loss of several outputs for each target, and its derivatives, in the order of ``p``."""
    formula, n = blocks_of(net.loss), len(t)
    slopes: list[Value] = list(p)
    total = code.constant(p[0].kind, 0.0)
    for j, target in enumerate(t):
        write = Writer(code, formula.symbols(p[j::n], target))
        total = total + write(formula.value)
        slopes[j::n] = [write(slope) for slope in formula.slopes]
    return total, slopes


def number_at(frame: Frame, pointer: Value, dtype: str) -> Value:
    """Read a number of some dtype as one of the arrays' type."""
    source = source_of(dtype)
    assert source is not None
    return read(frame, pointer, source, int(dtype[2:]), 1)


def label_at(frame: Frame, pointer: Value, dtype: str) -> Value:
    """Read a class number as i64."""
    source, code = source_of(dtype), frame.code
    assert source is not None
    kind = f"i{8 * int(dtype[2:])}"
    value = code.op(kind, f"load {kind}, {pointer}, align 1")
    if source.swapped:
        value = code.call_intrinsic("bswap", value)
    return code.convert("sext" if source.signed else "zext", value, I64)
