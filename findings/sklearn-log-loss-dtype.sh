#!/usr/bin/env bash
# scikit-learn 1.9.1 with NumPy 2.4.6.
#
# Belief: log_loss of the same probabilities is the same number, whatever their dtype: both 0 and 1 are exact in float32.
# Behaviour: probabilities are held eps of their own dtype away from 0 and 1
#   (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.log_loss.html, Notes). A sure and wrong answer costs
#   16 in float32 and 36 in float64, so that two networks that answer alike are ranked by their dtypes.
# Seen: "float32 15.942385 float64 36.043653".
# What we do: the metric "log_loss" of probabilities does as scikit-learn; of logits it is computed from the logits, without
#   any bound (tinynet/training/metrics/probabilities.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "scikit-learn==1.9.1" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
from sklearn.metrics import log_loss

wrong = np.array([[1.0, 0.0], [0.0, 1.0]])
found = [float(log_loss([1, 0], wrong.astype(dtype))) for dtype in ("float32", "float64")]
print(f"float32 {found[0]:.6f} float64 {found[1]:.6f}")
assert abs(found[0] - 15.942385) < 1e-4
assert abs(found[1] - 36.043653) < 1e-4
PYTHON
