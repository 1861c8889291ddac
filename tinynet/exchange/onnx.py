"""ONNX: a network as a graph that onnxruntime, TensorRT, OpenVINO and others run.

Every layer is one node or a few, in the network's own dtype. Where there is no operator for an activation, or
onnxruntime has none for float64 (``Elu``, ``Softplus``, ``Erf``; in older versions others), the nodes are those of its
formula.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.blocks import names_of, values_at
from tinynet.backends.formulas import ERFC_CENTRE, FORMATS, Term, activation, follow, is_elementwise, uses_alpha
from tinynet.base.errors import requires
from tinynet.base.frozen import dataclass
from tinynet.base.version import __version__
from tinynet.exchange.atomic import Path_, atomic_open
from tinynet.exchange.parts import Parts
from tinynet.exchange.steps import Step, prediction_steps
from tinynet.program import ActivationOp, BlocksOp, EmbeddingOp, LayerNormOp, LinearOp, Program, ResidualOp

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
"""The oldest set of operators that has all that is used; the older, the more programs read it."""

LARGEST = 2**31 - 2**20
"""Bytes: Protocol Buffers hold 2 GiB."""


def export_onnx(program: Program, parts: Parts, path: Path_ | None) -> ModelProto:
    """Return a network as an ONNX model, and write it to ``path`` if there is one; see ``Sequential.to_onnx``."""
    graph = new_graph(program)
    outputs = {add_network(graph, program, parts, "input"): Output("output", program.n_out)}
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
    width : int, tuple of int or None
        Number of columns, or the shape of each row; None: one value for each row, in an axis of its own.
    dtype : str or None
        "int64", "object" for strings; None: that of the graph.
    """

    name: str
    width: int | tuple[int, ...] | None
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
        width = value.width
        shape = ["batch", *(() if width is None else (width,) if isinstance(width, int) else width)]
        return self._helper.make_tensor_value_info(value.name, kind, shape)


def add_network(graph: Graph, program: Program, parts: Parts, x: str) -> str:
    """Add the layers of a network, which reads the value named ``x``; return the name of its output."""
    for step in prediction_steps(program, parts, "ONNX"):
        graph.at(f"layer{step.position}")
        x = add_step(graph, step, x)
    return x


def add_step(graph: Graph, step: Step, x: str) -> str:
    """Add a layer, which reads the value named ``x``; return the name of its output."""
    if isinstance(step.op, ActivationOp):
        return _add_activation(graph, step.op, x)
    if isinstance(step.op, BlocksOp):
        parts = blocks_of(graph, step.op, x, axis=1)
        symbols: dict[str, str | float] = dict(zip(names_of(step.op.blocks), parts, strict=True))
        outputs = [str(add_formula(graph, value, symbols)) for value in values_at(step.op)]
        return graph.add("Concat", *outputs, axis=1)
    if isinstance(step.op, LinearOp):
        return graph.add("Gemm", x, *(graph.constant(name, array) for name, array in step.arrays.items()))
    if isinstance(step.op, LayerNormOp):
        return _add_layer_norm(graph, step.op, step, x)
    if isinstance(step.op, EmbeddingOp):
        return _add_embedding(graph, step.op, step, x)
    if isinstance(step.op, ResidualOp):
        y = x
        for part in step.within:
            graph.at(f"layer{part.position}")
            y = add_step(graph, part, y)
        graph.at(f"layer{step.position}")
        beside = graph.add("MatMul", x, graph.constant("projection", step.arrays["weight"])) if step.arrays else x
        return graph.add("Add", y, beside)
    mean = graph.constant("mean", step.arrays["mean"], "float64")
    return add_division(graph, x, step.arrays["scale"], lambda wide: graph.add("Sub", wide, mean))


def add_division(
    graph: Graph, x: str, scale: NDArray[np.float64], before: Callable[[str], str] = lambda wide: wide
) -> str:
    """Add a division by columns in float64, of what ``before`` makes of it there; return the name of its result.

    Columns that are rounded to float32 would be others, or none.
    """
    wide = x if graph.dtype == "float64" else graph.add("Cast", x, to=_DOUBLE)
    divided = graph.add("Div", before(wide), graph.constant("scale", scale, "float64"))
    return divided if graph.dtype == "float64" else graph.add("Cast", divided, to=_FLOAT)


def _add_layer_norm(graph: Graph, op: LayerNormOp, step: Step, x: str) -> str:
    """Add a layer norm, by its formula: ONNX's own operator is young, and computes in float32."""
    away = graph.add("Sub", x, graph.add("ReduceMean", x, axes=[1], keepdims=1))
    variance = graph.add("ReduceMean", graph.add("Mul", away, away), axes=[1], keepdims=1)
    y = graph.add("Div", away, graph.add("Sqrt", graph.add("Add", variance, op.eps)))
    if not op.affine:
        return y
    weight, bias = (graph.constant(name, array) for name, array in step.arrays.items())
    return graph.add("Add", graph.add("Mul", y, weight), bias)


def _add_embedding(graph: Graph, op: EmbeddingOp, step: Step, x: str) -> str:
    """Add what picks the rows of tables, and passes the other columns."""
    made, tables = [], list(step.arrays.items())
    for k, (source, _, i) in enumerate(op.pieces):
        places = graph.constant(f"columns{k}", list(range(source.start, source.stop)), "int64")
        columns = graph.add("Gather", x, places, axis=1)
        if i >= 0:
            level = graph.add("Floor", graph.add("Add", columns, 0.5))
            level = graph.add("Min", graph.add("Max", level, 0.0), op.levels[i] - 1.0)
            row = graph.add("Cast", graph.add("Squeeze", level, graph.constant(f"one{k}", [1], "int64")), to=_INT64)
            columns = graph.add("Gather", graph.constant(*tables[i]), row, axis=0)
        made.append(columns)
    return graph.add("Concat", *made, axis=1)


def blocks_of(graph: Graph, op: BlocksOp, x: str, axis: int) -> list[str]:
    """Add what cuts a value into its blocks along an axis; return their names."""
    width, places = op.n // op.blocks, graph.constant(f"axis{axis}", [axis], "int64")
    cuts = [graph.constant(f"cut{axis}_{i}", [i * width], "int64") for i in range(op.blocks + 1)]
    return [graph.add("Slice", x, *bounds, places) for bounds in pairwise(cuts)]


_FLOAT, _INT64, _DOUBLE = 1, 7, 11
"""ONNX's numbers for float32, int64 and float64."""


def _add_activation(graph: Graph, op: ActivationOp, x: str) -> str:
    """Add an activation, by operators of its own where there are some, else by its formula."""
    if not is_elementwise(op.kind):
        return graph.add("Softmax", x, axis=-1)
    formula = activation(op.kind)
    if not formula.onnx or (graph.dtype == "float64" and not formula.onnx64):
        value, _ = formula.terms
        return str(add_formula(graph, value, {"z": x, "alpha": op.alpha}))
    if isinstance(formula.onnx, str):
        return graph.add(formula.onnx, x, **({"alpha": op.alpha} if uses_alpha(op.kind) else {}))
    return str(_add_nodes(graph, formula.onnx, x))


def add_formula(graph: Graph, term: Term, symbols: dict[str, str | float]) -> str | float:
    """Add a formula; return the name of its value, or the number that it is."""
    (result,) = follow([term], symbols, _number, lambda name, *operands: _OPERATIONS[name](graph, *operands))
    return result


def _number(number: float) -> str | float:
    return number


def _add_nodes(graph: Graph, nodes: Any, x: str) -> str | float:
    """Add a tree of operators; return the name of its result."""
    if not isinstance(nodes, tuple):
        return x if nodes == "z" else float(nodes)
    operator, *operands = nodes
    return graph.add(operator, *(_add_nodes(graph, operand, x) for operand in operands))


def _node(operator: str) -> Callable[..., str]:
    return lambda graph, *operands: graph.add(operator, *operands)


def _expm1(graph: Graph, x: str) -> str:
    """``2 t / (1 - t)`` with ``t = tanh(x / 2)``."""
    t = graph.add("Tanh", graph.add("Mul", x, 0.5))
    return graph.add("Div", graph.add("Mul", t, 2.0), graph.add("Sub", 1.0, t))


def _log1p(graph: Graph, x: str) -> str:
    """``log(u) x / (u - 1)`` with ``u = 1 + x`` (Hewlett-Packard, 1982); x where u is 1, and log(u) where u is x."""
    u = graph.add("Add", x, 1.0)
    log = graph.add("Log", u)
    inner = graph.add("Mul", log, graph.add("Div", x, graph.add("Sub", u, 1.0)))
    large = graph.add("Where", graph.add("Equal", u, x), log, inner)
    return graph.add("Where", graph.add("Equal", u, 1.0), x, large)


def _erfc(graph: Graph, x: str) -> str:
    """``1 - erf(x)``; in float64, for which onnxruntime has no ``Erf``, by the polynomial of the generated code."""
    if graph.dtype == "float32":
        return graph.add("Sub", 1.0, graph.add("Erf", x))
    form = FORMATS["double"]
    factor, shift = form.erfc_unit
    # Beyond the end it is zero; without the bound, infinity would become infinity / infinity.
    a = graph.add("Min", graph.add("Abs", x), form.erfc_end)
    t = graph.add("Div", graph.add("Sub", a, ERFC_CENTRE), graph.add("Add", a, ERFC_CENTRE))
    t = graph.add("Add", graph.add("Mul", t, factor), shift)
    *others, highest = form.erfc
    value: str | float = highest
    for coefficient in reversed(others):
        value = graph.add("Add", graph.add("Mul", t, value), coefficient)
    scaled = graph.add("Div", value, graph.add("Add", graph.add("Mul", a, 2.0), 1.0))
    tail = graph.add("Mul", scaled, graph.add("Exp", graph.add("Neg", graph.add("Mul", a, a))))
    return graph.add("Where", graph.add("Less", x, 0.0), graph.add("Sub", 2.0, tail), tail)


_OPERATIONS: dict[str, Callable[..., str]] = {
    "+": _node("Add"),
    "-": _node("Sub"),
    "*": _node("Mul"),
    "/": _node("Div"),
    "negative": _node("Neg"),
    "<": _node("Less"),
    "<=": _node("LessOrEqual"),
    ">": _node("Greater"),
    "==": _node("Equal"),
    "select": _node("Where"),
    "abs": _node("Abs"),
    "sqrt": _node("Sqrt"),
    "exp": _node("Exp"),
    "expm1_nonpositive": _expm1,
    "log": _node("Log"),
    "log1p": _log1p,
    "log1p_fraction": _log1p,
    "tanh": _node("Tanh"),
    "erfc": _erfc,
}
"""What adds each operation of a formula: ``f(graph, *operands)`` returns the name of its result."""
