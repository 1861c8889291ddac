"""ONNX: a network as a graph that onnxruntime, TensorRT, OpenVINO and others run.

Every layer is one node or a few, in the network's own dtype. Where onnxruntime has no kernel for float64 (``Elu``,
``Softplus``, ``Erf``; in older versions others), float64 networks get the same function from nodes that it has; the
formulas stand with the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import requires
from tinynet.base.version import __version__
from tinynet.exchange.atomic import Path_, atomic_open
from tinynet.exchange.parts import Parts
from tinynet.exchange.steps import Step, prediction_steps
from tinynet.program import ActivationOp, LinearOp, Program

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
"""The oldest set of operators that has all that is used; the older, the more programs read it."""

LARGEST = 2**31 - 2**20
"""Bytes: Protocol Buffers hold 2 GiB."""


def export_onnx(program: Program, parts: Parts, path: Path_ | None) -> ModelProto:
    """Return a network as an ONNX model, and write it to ``path`` if there is one; see ``Sequential.to_onnx``."""
    graph = new_graph(program)
    result = add_network(graph, program, parts, "input")
    outputs = {result: Output("output", program.n_out)}
    return finished(graph.model({"input": program.n_in}, outputs), path)


def new_graph(program: Program) -> Graph:
    """Return an empty graph for a network, in the network's dtype.

    Raises
    ------
    DependencyError
        If the package onnx is not installed.
    ValueError
        If the network is too large for a file.
    """
    check_installed()
    size = (program.n_parameters + program.n_buffers) * np.dtype(program.dtype).itemsize
    if size > LARGEST:
        raise ValueError(f"an ONNX file holds at most 2 GiB; this network has {size:,} bytes of weights.")
    return Graph(program.dtype)


def check_installed() -> None:
    """Raise DependencyError if the package onnx is not installed."""
    try:
        import onnx  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise requires("onnx", "to_onnx", "pip install onnx") from error


def finished(proto: ModelProto, path: Path_ | None) -> ModelProto:
    """Return a model that ONNX's own checks have passed, and write it to ``path`` if there is one."""
    from onnx import checker

    checker.check_model(proto, full_check=True)
    if path is not None:
        with atomic_open(path) as file:
            file.write(proto.SerializeToString())
    return proto


@dataclass(frozen=True)
class Output:
    """An output of a graph.

    Attributes
    ----------
    name : str
    width : int or None
        Number of columns; None: one value for each row, in an axis of its own.
    dtype : str or None
        "int64", "object" for strings; None: that of the graph.
    """

    name: str
    width: int | None
    dtype: str | None = None


class Graph:
    """Nodes and constants of a graph that is being written.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of all values.
    """

    def __init__(self, dtype: str) -> None:
        from onnx import helper

        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._helper = helper
        self._n_names = 0
        self._place = ""

    def at(self, place: str) -> None:
        """Let the names of what follows start with ``place``."""
        self._place, self._n_names = place, 0

    def constant(self, name: str, value: Any, dtype: str | None = None) -> str:
        """Add an array, or a number, as a constant of a dtype, or of the graph's; return its name."""
        full = f"{self._place}.{name}"
        self.constants[full] = np.asarray(value, dtype=dtype or self.dtype)
        return full

    def add(self, operator: str, *inputs: str | float, **attributes: Any) -> str:
        """Add a node, with numbers among its inputs as constants; return the name of its output."""
        self._n_names += 1
        name = f"{self._place}.{operator.lower()}{self._n_names}"
        names = [
            entry if isinstance(entry, str) else self.constant(f"number{self._n_names}_{i}", entry)
            for i, entry in enumerate(inputs)
        ]
        self.nodes.append(self._helper.make_node(operator, names, [name], name=name, **attributes))
        return name

    def model(self, inputs: dict[str, int], outputs: dict[str, Output]) -> ModelProto:
        """Return the whole graph as a model.

        Parameters
        ----------
        inputs : dict of str to int
            Width of each input by name; the number of rows is open.
        outputs : dict of str to Output
            For each value that is an output, the name it gets, its width and its dtype.
        """
        from onnx import numpy_helper

        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name in outputs:
                        names[i] = outputs[name].name
        graph = self._helper.make_graph(
            self.nodes,
            "tinynet",
            [self._info(Output(name, n)) for name, n in inputs.items()],
            [self._info(output) for output in outputs.values()],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [self._helper.make_opsetid("", OPSET)]
        return self._helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=self._helper.find_min_ir_version_for(opsets),
            producer_name="tinynet",
            producer_version=__version__,
        )

    def _info(self, value: Output) -> Any:
        """Describe an input or an output; the number of rows is open."""
        kind = self._helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype or self.dtype))
        shape = ["batch"] if value.width is None else ["batch", value.width]
        return self._helper.make_tensor_value_info(value.name, kind, shape)


def add_network(graph: Graph, program: Program, parts: Parts, x: str) -> str:
    """Add the layers of a network, which reads the value named ``x``; return the name of its output."""
    for step in prediction_steps(program, parts, "ONNX"):
        graph.at(f"layer{step.position}")
        x = _add_step(graph, step, x)
    return x


def _add_step(graph: Graph, step: Step, x: str) -> str:
    if isinstance(step.op, ActivationOp):
        table = ACTIVATIONS64 if graph.dtype == "float64" and step.op.kind in ACTIVATIONS64 else ACTIVATIONS
        return table[step.op.kind](graph, x, step.op.alpha)
    constants = [graph.constant(name, array) for name, array in step.arrays.items()]
    if isinstance(step.op, LinearOp):
        return graph.add("Gemm", x, *constants)
    mean, scale = constants
    return graph.add("Div", graph.add("Sub", x, mean), scale)


def _gelu(graph: Graph, x: str, alpha: float) -> str:
    """``x / 2 * (1 + erf(x / sqrt(2)))``."""
    erf = graph.add("Erf", graph.add("Mul", x, np.sqrt(0.5)))
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", erf, 1.0))


ACTIVATIONS = {
    "sigmoid": lambda graph, x, alpha: graph.add("Sigmoid", x),
    "tanh": lambda graph, x, alpha: graph.add("Tanh", x),
    "relu": lambda graph, x, alpha: graph.add("Relu", x),
    "leaky_relu": lambda graph, x, alpha: graph.add("LeakyRelu", x, alpha=alpha),
    "elu": lambda graph, x, alpha: graph.add("Elu", x, alpha=alpha),
    "gelu": _gelu,
    "silu": lambda graph, x, alpha: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "softplus": lambda graph, x, alpha: graph.add("Softplus", x),
    "exponential": lambda graph, x, alpha: graph.add("Exp", x),
    "softmax": lambda graph, x, alpha: graph.add("Softmax", x, axis=-1),
}
"""For each activation, what adds it: ``f(graph, x, alpha)`` returns the name of its output."""


def _leaky_relu64(graph: Graph, x: str, alpha: float) -> str:
    """``max(x, alpha * x)``, or the minimum for a slope above 1: an attribute would round the slope to float32."""
    return graph.add("Max" if alpha <= 1 else "Min", x, graph.add("Mul", x, alpha))


def _elu64(graph: Graph, x: str, alpha: float) -> str:
    """``max(x, 0) + alpha * expm1(min(x, 0))``, with ``expm1(v) = 2 t / (1 - t)``, ``t = tanh(v / 2)``."""
    t = graph.add("Tanh", graph.add("Mul", graph.add("Min", x, 0.0), 0.5))
    expm1 = graph.add("Div", graph.add("Mul", t, 2.0), graph.add("Sub", 1.0, t))
    return graph.add("Add", graph.add("Relu", x), graph.add("Mul", expm1, alpha))


def _softplus64(graph: Graph, x: str, alpha: float) -> str:
    """``max(x, 0) + log(1 + exp(-|x|))``; right to rounding of 1, so results below 1e-16 are 0."""
    tail = graph.add("Log", graph.add("Add", graph.add("Exp", graph.add("Neg", graph.add("Abs", x))), 1.0))
    return graph.add("Add", graph.add("Relu", x), tail)


def _gelu64(graph: Graph, x: str, alpha: float) -> str:
    """``max(x, 0) - a * Phi(-a)`` with ``a = |x|`` and ``Phi(-a) = exp(-a**2 / 2) * p(t) / (TAIL_SCALE + a)``.

    The polynomial ``p`` in ``t = (TAIL_SCALE - a) / (TAIL_SCALE + a)`` is what ``_tail_polynomial`` fits.
    """
    # Beyond 40 the tail is zero in float64; without the bound, infinity would become infinity * 0.
    a = graph.add("Min", graph.add("Abs", x), 40.0)
    width = graph.add("Add", a, TAIL_SCALE)
    t = graph.add("Div", graph.add("Sub", TAIL_SCALE, a), width)
    *others, highest = _tail_polynomial()
    value: str | float = highest
    for coefficient in reversed(others):
        value = graph.add("Add", graph.add("Mul", t, value), coefficient)
    exponential = graph.add("Exp", graph.add("Mul", graph.add("Mul", a, a), -0.5))
    tail = graph.add("Mul", graph.add("Div", value, width), exponential)
    return graph.add("Sub", graph.add("Relu", x), graph.add("Mul", a, tail))


TAIL_SCALE, TAIL_DEGREE = 4.0, 24
"""Of those tried, these fit best: Phi(-a) is right to 5e-15 of itself up to a = 8, a * Phi(-a) to 6e-16 everywhere."""


def _tail_polynomial() -> list[float]:
    """Return the coefficients of ``p(t) = (TAIL_SCALE + a) * exp(a**2 / 2) * Phi(-a)``, the lowest power first.

    The map from ``a`` in [0, inf) to ``t`` in (-1, 1] is that of Schonfelder (1978) and Weideman (1994): in ``t`` the
    function is smooth up to both ends, so its Chebyshev series is short.
    """
    from numpy.polynomial import chebyshev
    from scipy.special import erfcx

    def scaled_tail(t: Any) -> Any:
        a = TAIL_SCALE * (1 - t) / (1 + t)
        return (TAIL_SCALE + a) * erfcx(a * np.sqrt(0.5)) / 2

    series = chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled_tail, TAIL_DEGREE))
    return [float(coefficient) for coefficient in series]


def _silu64(graph: Graph, x: str, alpha: float) -> str:
    """``x / (1 + exp(-x))``: onnxruntime before 1.21 fuses ``x * sigmoid(x)`` into a node that has no float64."""
    return graph.add("Div", x, graph.add("Add", graph.add("Exp", graph.add("Neg", x)), 1.0))


ACTIVATIONS64 = {"leaky_relu": _leaky_relu64, "elu": _elu64, "softplus": _softplus64, "gelu": _gelu64, "silu": _silu64}
"""What takes the place of ``ACTIVATIONS`` in float64: onnxruntime has no kernel, or an attribute has no float64."""
