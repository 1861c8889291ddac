#!/usr/bin/env bash
# skl2onnx 1.20.0 with scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.32.0, pandas 3.1.1.
#
# Belief: a DataFrame of float64 columns becomes a graph that computes in float64; of float64 and whole numbers, one that
#   computes as scikit-learn does.
# Behaviour: a step that is given several columns joins them by FeatureVectorizer, whose output is float32 by ONNX's
#   definition (https://onnx.ai/onnx/operators/onnx_aionnxml_FeatureVectorizer.html), and casts back to float64 afterwards
#   (skl2onnx/operator_converters/common.py, concatenate_variables). All columns are first cast to the type of the first
#   one: where that is of whole numbers, the others lose their fractions.
# Seen: "float64 columns: nodes ['FeatureVectorizer', 'CastLike', 'Sub', 'Div'], largest error 1.1" (Unix times, scaled), and
#   "whole numbers first: largest error 3.4".
# What we do: cast to one type and join by Concat (tinynet/estimators/onnx_inputs.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "skl2onnx==1.20.0" "scikit-learn==1.9.1" "onnx==1.23.2" \
    "onnxruntime==1.32.0" "pandas==3.1.1" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
import pandas as pd
import skl2onnx
from sklearn.preprocessing import StandardScaler


def error(frame):
    scaler = StandardScaler().fit(frame)
    proto = skl2onnx.to_onnx(scaler, frame, target_opset=17)
    inputs = {name: frame[[name]].to_numpy() for name in frame}
    (scaled,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, inputs)
    return abs(scaled - scaler.transform(frame)).max(), [node.op_type for node in proto.graph.node]


times = pd.DataFrame({"time": 1.7e9 + np.arange(200.0), "dose": np.arange(200.0) % 7})
found, nodes = error(times)
print(f"float64 columns: nodes {nodes}, largest error {found:.2g}")
assert nodes[0] == "FeatureVectorizer"
assert found > 0.5
mixed = pd.DataFrame({"count": np.arange(200) % 5, "x": np.linspace(0, 1, 200)})
found, _ = error(mixed)
print(f"whole numbers first: largest error {found:.2g}")
assert found > 1
assert error(mixed[["x", "count"]])[0] < 1e-6
PYTHON
