#!/usr/bin/env bash
# scikit-learn 1.9.1 with NumPy 2.4.6.
#
# Belief: top_k_accuracy_score(y, p, k=1) is accuracy_score(y, p.argmax(axis=1)).
# Behaviour: not where the largest scores are equal, as saturated float32 probabilities often are. NumPy's argmax takes the
#   first of equals (https://numpy.org/doc/stable/reference/generated/numpy.argmax.html), top_k_accuracy_score the last ones
#   (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.top_k_accuracy_score.html, Notes). A network that
#   always gives all classes the same score is right for the first class by the one, and for the last by the other.
# Seen: "accuracy 1.0 top-1 0.0" for the first class, "accuracy 0.0 top-1 1.0" for the last.
# What we do: "accuracy" and "top_k" each go with scikit-learn's function of that name (tinynet/training/metrics), and their
#   docstrings say which of equals comes first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "scikit-learn==1.9.1" "numpy==2.4.6"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import numpy as np
from sklearn.metrics import accuracy_score, top_k_accuracy_score

scores = np.full((2, 3), 1 / 3, np.float32)
found = []
for label in (0, 2):
    truth = [label, label]
    top = top_k_accuracy_score(truth, scores, k=1, labels=[0, 1, 2])
    found.append((accuracy_score(truth, scores.argmax(axis=1)), top))
    print("accuracy", *found[-1][:1], "top-1", *found[-1][1:])
assert found == [(1.0, 0.0), (0.0, 1.0)], found
PYTHON
