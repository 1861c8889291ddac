"""The Jacobian of a network in an ONNX graph: derivatives by the inputs go forward beside the values.

What goes forward is (batch, n_in, n), or (1, n_in, n) as long as it is the same for all rows; the last nodes turn it
into (batch, n_out, n_in).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinynet.backends.blocks import names_of, slopes_at
from tinynet.backends.formulas import activation, is_elementwise
from tinynet.exchange.onnx import Graph, Output, add_division, add_formula, add_step, blocks_of, finished, new_graph
from tinynet.exchange.steps import Step, prediction_steps
from tinynet.program import ActivationOp, BlocksOp, LinearOp, Program

if TYPE_CHECKING:
    from onnx import ModelProto

    from tinynet.exchange.atomic import Path_
    from tinynet.exchange.parts import Parts


def export_with_jacobian(program: Program, parts: Parts, path: Path_ | None) -> ModelProto:
    """Return a network as an ONNX model with its Jacobian, and write it to ``path``; see ``Sequential.to_onnx``."""
    graph = new_graph(program)
    y, slopes = _add_network(graph, program, parts, "input")
    outputs = {y: Output("output", program.n_out), slopes: Output("jacobian", (program.n_out, program.n_in))}
    return finished(graph.model({"input": program.n_in}, outputs), path)


def _add_network(graph: Graph, program: Program, parts: Parts, x: str) -> tuple[str, str]:
    """Add a network, which reads the value named ``x``; return the names of its output and of its Jacobian."""
    graph.at("jacobian")
    slopes, given = graph.constant("eye", np.eye(program.n_in)[np.newaxis]), x
    for step in prediction_steps(program, parts, "ONNX", derivatives=True):
        graph.at(f"layer{step.position}")
        y = add_step(graph, step, x)
        graph.at(f"jacobian{step.position}")
        slopes = _add_slopes(graph, step, x, y, slopes)
        x = y
    graph.at("jacobian_output")
    # Where every layer is linear, all rows still share one.
    rows = graph.add("Slice", graph.add("Shape", given), *(graph.constant(n, [v], "int64") for n, v in _FIRST))
    whole = graph.add("Concat", rows, graph.constant("sizes", [program.n_in, program.n_out], "int64"), axis=0)
    return x, graph.add("Transpose", graph.add("Expand", slopes, whole), perm=[0, 2, 1])


_FIRST = (("start", 0), ("stop", 1))


def _add_slopes(graph: Graph, step: Step, x: str, y: str, slopes: str) -> str:
    """Add the derivatives of a layer's output from those of its input."""
    op = step.op
    if isinstance(op, LinearOp):
        return graph.add("MatMul", slopes, graph.constant("weight", step.arrays["weight"]))
    if isinstance(op, BlocksOp):
        return _add_slopes_of_blocks(graph, op, x, slopes)
    if not isinstance(op, ActivationOp):
        return add_division(graph, slopes, step.arrays["scale"])
    middle = graph.constant("middle", [1], "int64")
    if not is_elementwise(op.kind):
        p = graph.add("Unsqueeze", y, middle)
        last = graph.constant("last", [2], "int64")
        dot = graph.add("ReduceSum", graph.add("Mul", p, slopes), last, keepdims=1)
        return graph.add("Mul", p, graph.add("Sub", slopes, dot))
    _, derivative = activation(op.kind).terms
    slope = add_formula(graph, derivative, {"z": x, "y": y, "alpha": op.alpha})
    return graph.add("Mul", slopes, graph.add("Unsqueeze", slope, middle) if isinstance(slope, str) else slope)


def _add_slopes_of_blocks(graph: Graph, op: BlocksOp, x: str, slopes: str) -> str:
    """Add the sums over the numbers that an output is made of."""
    rows = graph.add("Slice", graph.add("Shape", x), *(graph.constant(n, [v], "int64") for n, v in _FIRST))
    whole = graph.add("Concat", rows, graph.constant("ones", [1, 1], "int64"), axis=0)
    steps = blocks_of(graph, op, graph.add("Expand", slopes, whole), axis=2)
    symbols: dict[str, str | float] = dict(zip(names_of(op.blocks), blocks_of(graph, op, x, axis=1), strict=True))
    middle, outputs = graph.constant("middle", [1], "int64"), []
    for row in slopes_at(op):
        factors = [add_formula(graph, slope, symbols) for slope in row]
        products = [
            graph.add("Mul", step, graph.add("Unsqueeze", factor, middle) if isinstance(factor, str) else factor)
            for step, factor in zip(steps, factors, strict=True)
        ]
        total = products[0]
        for product in products[1:]:
            total = graph.add("Add", total, product)
        outputs.append(total)
    return graph.add("Concat", *outputs, axis=2)
