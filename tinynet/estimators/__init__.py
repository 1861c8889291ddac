"""scikit-learn estimators: its ``MLPClassifier`` and ``MLPRegressor``, trained by tinynet.

Change the import line and keep everything else::

    from tinynet.estimators import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier
"""

from __future__ import annotations

try:
    import sklearn  # noqa: F401 - only whether it imports: an error in our own modules must not pass for its absence
except ImportError as error:
    raise ImportError(
        f"tinynet.estimators needs scikit-learn, which does not import: {error}. Get it by: pip install scikit-learn"
    ) from error

from tinynet.estimators.classifier import MLPClassifier
from tinynet.estimators.pipelines import register_onnx_converters, to_onnx
from tinynet.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "register_onnx_converters", "to_onnx"]
