"""onnxruntime: predictions of the same network, written as an ONNX graph."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.problem import Problem, split

OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def graph(problem: Problem) -> onnx.ModelProto:
    """Return the network as a graph of ``Gemm`` and activations."""
    workload = problem.workload
    element = helper.np_dtype_to_tensor_dtype(problem.x.dtype)
    nodes, constants, name = [], [], "x"
    layers = split(problem.parameters, workload.sizes)
    for place, (w, b) in enumerate(layers):
        constants += [numpy_helper.from_array(w, f"w{place}"), numpy_helper.from_array(b, f"b{place}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{place}", f"b{place}"], [f"z{place}"]))
        name = f"z{place}"
        kind = workload.output if place == len(layers) - 1 else workload.hidden
        if kind != "identity":
            nodes.append(helper.make_node(OPERATORS[kind], [name], [f"y{place}"]))
            name = f"y{place}"
    ends = [
        helper.make_tensor_value_info(label, element, [None, width])
        for label, width in (("x", workload.sizes[0]), (name, workload.sizes[-1]))
    ]
    made = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


class Predict:
    """One sample at a time."""

    def __init__(self, problem: Problem, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            graph(problem).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.x = problem.x[:1]

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Predict ``n`` times."""
        run, x = self.session.run, self.x
        for _ in range(n):
            self.out = run(None, {"x": x})[0]

    def result(self) -> NDArray[Any]:
        """Return the last prediction."""
        return self.out

    def about(self) -> str:
        """Tell the version."""
        return f"onnxruntime {onnxruntime.__version__}"
