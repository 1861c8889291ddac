#!/usr/bin/env bash
# NumPy 2.4.6, pandas 3.1.1, scikit-learn 1.9.1.
#
# Belief: a reader of tables takes "1_01", the name of a well or a version, for a text, as pandas does; at least NumPy's two
#   readers agree.
# Behaviour: numpy.genfromtxt reads it as 101 and numpy.loadtxt refuses it; NumPy's conversion of strings (astype) reads it, as
#   Python's float() does since PEP 515 (https://peps.python.org/pep-0515/), and so does scikit-learn's check_array of Python
#   objects, which is what a column of texts in a DataFrame is.
# Seen: "genfromtxt [101.0, 202.0]", "loadtxt could not convert string '1_01' to float64 at row 0, column 1.", "astype
#   [101.0]", "check_array [[101.0]]", "pandas ['1_01', '2_02']".
# What we do: numbers have a grammar of their own (tinynet/datasets/cells.py), and the estimators refuse texts
#   (tinynet/estimators/inputs.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "numpy==2.4.6" "pandas==3.1.1" "scikit-learn==1.9.1"
PYTHONPATH="$folder" python3 -W ignore - <<'PYTHON'
import io

import numpy as np
import pandas as pd
from sklearn.utils import check_array

text = "1_01\n2_02\n"
found = np.genfromtxt(io.StringIO(text)).tolist()
print("genfromtxt", found)
assert found == [101.0, 202.0]
try:
    raise SystemExit(f"loadtxt reads it: {np.loadtxt(io.StringIO(text))}")
except ValueError as error:
    print("loadtxt", error)
found = np.array(["1_01"]).astype(float).tolist()
print("astype", found)
assert found == [101.0]
found = check_array(np.array([["1_01"]], dtype=object)).tolist()
print("check_array", found)
assert found == [[101.0]]
found = pd.read_csv(io.StringIO("well\n" + text))["well"].tolist()
print("pandas", found)
assert found == ["1_01", "2_02"]
PYTHON
