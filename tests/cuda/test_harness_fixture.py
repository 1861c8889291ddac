"""The fixture ``cp``: CuPy for one test, and no trace of it afterwards."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cuda_on_cpu import toolchain
from cuda_on_cpu.installing import installed

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))


def test_the_backend_sees_the_stand_in(cp: ModuleType) -> None:
    backend = importlib.import_module("tinynet.backends.cupy.backend")
    assert sys.modules["cupy"] is cp
    sys.modules["tinynet.backends"].__dict__["_created"]["cupy"] = backend


def test_nothing_that_imported_it_is_left() -> None:
    """What others have imported before is no matter: collecting the examples of ``tinynet.backends`` does."""
    with installed("fake"):
        importlib.import_module("tinynet.backends.cupy.backend")
    assert "tinynet.backends.cupy.backend" not in sys.modules
    backends = sys.modules.get("tinynet.backends")
    assert backends is None or "cupy" not in backends.__dict__["_created"]
    assert not hasattr(sys.modules.get("cupy"), "RawModule") or hasattr(sys.modules["cupy"], "__file__")


def run_tests(folder: Path, code: str, **environment: str) -> str:
    """Run tests in a file beside a copy of this folder's conftest.py; return what pytest says."""
    (folder / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (folder / "test_it.py").write_text(code)
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "kernels"), str(ROOT)])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rsE",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "test_it.py",
    ]
    config = "[pytest]\nmarkers = gpu: needs a GPU\n"
    (folder / "pytest.ini").write_text(config)
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_an_error_of_queued_work_fails_the_test_that_queued_it(tmp_path: Path) -> None:
    said = run_tests(
        tmp_path,
        "def test_trespass(cp):\n"
        "    import tinynet.backends.cupy.backend\n"
        "    code = 'extern \"C\" __global__ void k(float* y) { y[5] = 1; }'\n"
        "    cp.RawModule(code=code).get_function('k')((1,), (1,), (cp.zeros(5, 'f4'),))\n"
        "def test_nothing_is_left():\n"
        "    import sys\n"
        "    assert 'cupy' not in sys.modules\n"
        "    assert 'tinynet.backends.cupy.backend' not in sys.modules\n"
        "def test_innocent(cp):\n"
        "    cp.zeros(3).get()\n",
    )
    assert "ERROR test_it.py::test_trespass[fake]" in said
    assert "OutOfBoundsError" in said
    assert "3 passed" in said


def test_without_a_compiler_the_tests_are_skipped_and_say_so(tmp_path: Path) -> None:
    said = run_tests(tmp_path, "def test_it(cp):\n    pass\n", CXX="/no/such/compiler")
    assert "needs g++" in said
    assert "passed" not in said
