#!/usr/bin/env bash
# skl2onnx 1.20.0 with scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.32.0.
#
# Belief: a converted Binarizer gives what scikit-learn's does: 1 for values above the threshold, 0 for those equal to it
#   (https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.Binarizer.html).
# Behaviour: so it is in float32. In float64 it is written as Less and Where, which give 1 where a value equals the threshold
#   (skl2onnx/operator_converters/binariser.py): with the default threshold, all zeros become 1.
# Seen: "float32 [0.0, 0.0, 1.0] float64 [0.0, 1.0, 1.0] scikit-learn [0.0, 0.0, 1.0]".
# What we do: name it in docs/how-to/exchange.md.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "skl2onnx==1.20.0" "scikit-learn==1.9.1" "onnx==1.23.2" \
    "onnxruntime==1.32.0" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
import skl2onnx
from sklearn.preprocessing import Binarizer

x = np.array([[-1.0], [0.0], [1.0]])
binarizer = Binarizer().fit(x)
found = {}
for dtype in ("float32", "float64"):
    proto = skl2onnx.to_onnx(binarizer, x.astype(dtype), target_opset=17)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    found[dtype] = session.run(None, {"X": x.astype(dtype)})[0].ravel().tolist()
expected = binarizer.transform(x).ravel().tolist()
print("float32", found["float32"], "float64", found["float64"], "scikit-learn", expected)
assert found["float32"] == expected == [0.0, 0.0, 1.0]
assert found["float64"] == [0.0, 1.0, 1.0]
PYTHON
