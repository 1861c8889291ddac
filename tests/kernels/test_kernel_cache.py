"""Compiled code on disk: found again, and never stale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tinynet_kernels

PACKAGE = Path(tinynet_kernels.__path__[0])
CODE = """
import numpy as np
from tinynet_kernels import cpu
y = np.zeros((1, 1))
cpu.activation_forward("relu", np.ones((1, 1)), y)
print(y[0, 0])
"""
FUSED = """
import numpy as np
from tinynet_kernels.cpu import fused
layer = fused.Layer("linear", 1, 1)
made = fused.prediction((layer,), 4)
out = np.zeros((1, 1))
made.run(np.ones(1), np.zeros(0), made.places, made.numbers, np.ones((1, 1)), out)
print(out[0, 0])
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may edit."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "tinynet_kernels", ignore=ignore))


def run(copy: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "PYTHONPATH": str(copy.parent), "TINYNET_CACHE_DIR": str(copy.parent / "cache")}
    command = [sys.executable, "-c", code]
    settings.update(environment)
    return subprocess.run(command, env=settings, cwd=copy.parent, capture_output=True, text=True, check=True)


def machine_code(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}


def test_an_edit_of_what_a_kernel_calls_is_seen(copy: Path) -> None:
    assert run(copy, CODE).stdout == "1.0\n"
    generic = copy / "cpu" / "generic.py"
    generic.write_text(generic.read_text().replace("builder.select(arguments[0], *chosen)", "chosen[0]"))
    assert run(copy, CODE).stdout == "0.0\n"


def test_a_fused_function_is_compiled_once(copy: Path) -> None:
    assert run(copy, FUSED).stdout == "1.0\n"
    before = machine_code(copy.parent)
    assert before
    assert run(copy, FUSED).stdout == "1.0\n"
    assert machine_code(copy.parent) == before


def test_two_processes_may_compile_at_once(copy: Path) -> None:
    settings = {**os.environ, "PYTHONPATH": str(copy.parent), "TINYNET_CACHE_DIR": str(copy.parent / "cache")}
    command = [sys.executable, "-c", FUSED]
    both = [subprocess.Popen(command, env=settings, cwd=copy.parent, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [b"1.0\n", b"1.0\n"]


def test_a_folder_that_cannot_be_written_is_a_warning_and_works(copy: Path) -> None:
    blocked = copy.parent / "file"
    blocked.write_text("")
    result = run(copy, FUSED, TINYNET_CACHE_DIR=str(blocked))
    assert result.stdout == "1.0\n"
    assert result.stderr.count("Set TINYNET_CACHE_DIR to a folder that can be written") == 1
