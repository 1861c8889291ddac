"""What scikit-learn itself demands: its checks of estimators, and its own tests of its networks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from tinynet.estimators import MLPClassifier, MLPRegressor

ROOT = Path(__file__).resolve().parent.parent
PRIVATE = ("test_gradient",)
"""Of scikit-learn's tests of its networks: what calls a private method (``_loss_grad_lbfgs``)."""


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_every_check_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
def test_scikit_learns_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sklearn_swap", "-p", "no:cacheprovider", "--pyargs"]
    command += ["sklearn.neural_network.tests.test_mlp", "-k", " and ".join(f"not {name}" for name in PRIVATE)]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT), str(ROOT / "kernels")])
    # pytest would take this repository's settings for those of the tests.
    folder = Path(sys.executable).parent
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) >= 50, result.stdout[-300:]
