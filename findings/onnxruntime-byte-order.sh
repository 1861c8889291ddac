#!/usr/bin/env bash
# onnxruntime 1.32.0 with onnx 1.23.2 and NumPy 2.4.6, on a little-endian machine.
#
# Belief: an array of another byte order (FITS, IDX, a file from another machine) is converted, or refused.
# Behaviour: InferenceSession.run takes its bytes as if they were native, without a word. The byte order is part of NumPy's
#   dtype (https://numpy.org/doc/stable/reference/generated/numpy.dtype.byteorder.html); NumPy's own functions convert.
# Seen: "given [1.0, 2.0] returned [3.03865e-319, 3.16e-322]".
# What we do: graphs are told native types, and docs/how-to/exchange.md says to convert first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "onnx==1.23.2" "onnxruntime==1.32.0" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", values[:1], values[1:])
proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
x = np.array([1.0, 2.0], np.dtype("f8").newbyteorder("S"))
(y,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
print("given", x.tolist(), "returned", y.tolist())
assert x.tolist() == [1.0, 2.0]
assert y.tolist() == np.array([1.0, 2.0]).byteswap().tolist()
PYTHON
