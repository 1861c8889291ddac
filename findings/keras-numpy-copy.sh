#!/usr/bin/env bash
# Keras 3.15.1, JAX 0.10.2, NumPy 2.4.6.
#
# Belief: Keras's own accessor of weights goes without warnings under NumPy 2; a test-suite that
#   makes warnings errors can compare weights.
# Behaviour: on any backend get_weights() warns once for each variable: `__array__` of Keras's variables takes no `copy`, which NumPy 2 asks for
#   (https://numpy.org/devdocs/numpy_2_0_migration_guide.html#adapting-to-changes-in-the-copy-keyword). With warnings as
#   errors it raises. set_weights() does not.
# Seen: "set_weights 0", "get_weights 2 DeprecationWarning".
# What we do: to_keras only sets weights; its tests let this one warning through (tests/test_to_others.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" "keras==3.15.1" "jax==0.10.2" "numpy==2.4.6"
KERAS_BACKEND=jax PYTHONPATH="$folder" python3 - <<'PYTHON'
import warnings

import keras
import numpy as np

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def told(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [warning.category for warning in found if "copy keyword" in str(warning.message)]


found = told(lambda: model.set_weights([np.ones((2, 1), "float32"), np.zeros(1, "float32")]))
print("set_weights", len(found))
assert found == []
found = told(model.get_weights)
print("get_weights", len(found), found[0].__name__)
assert found == [DeprecationWarning] * 2
PYTHON
