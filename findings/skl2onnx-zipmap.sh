#!/usr/bin/env bash
# skl2onnx 1.20.0 with scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.32.0.
#
# Belief: skl2onnx.to_onnx(classifier, X) of float64 data, with no options, gives a file that onnxruntime loads.
# Behaviour: by default its last node is ZipMap, a dictionary of probabilities for each sample, which ONNX defines for float32
#   only (https://onnx.ai/onnx/operators/onnx_aionnxml_ZipMap.html): onnxruntime refuses the file.
# Seen: "InvalidGraph: ... Type 'tensor(double)' of input parameter (probabilities) of operator (ZipMap) in node (ZipMap) is
#   invalid."
# What we do: zipmap=False, always (tinynet/estimators/pipelines.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "skl2onnx==1.20.0" "scikit-learn==1.9.1" "onnx==1.23.2" \
    "onnxruntime==1.32.0" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
import skl2onnx
from sklearn.linear_model import LogisticRegression

X = np.linspace(-1, 1, 20).reshape(-1, 1)
classifier = LogisticRegression().fit(X, X[:, 0] > 0)
for dtype in ("float32", "float64"):
    proto = skl2onnx.to_onnx(classifier, X.astype(dtype), target_opset=17)
    try:
        onnxruntime.InferenceSession(proto.SerializeToString())
        print(dtype, "loads")
        assert dtype == "float32"
    except Exception as error:
        print(dtype, f"{type(error).__name__}: {error}")
        assert dtype == "float64"
        assert "ZipMap" in str(error)
PYTHON
