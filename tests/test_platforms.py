"""Machines that lack what this one has: no compiler's wheels, no POSIX modules. What is there must run all the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITHOUT_COMPILERS = """
import sys
for name in ("numba", "llvmlite"):
    sys.modules[name] = None
"""
"""What an import finds where no wheel could be installed."""

WITHOUT_POSIX = """
import os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "register_at_fork", "sched_getaffinity", "sched_setaffinity"):
    if hasattr(os, name):
        delattr(os, name)
"""
"""What Windows has none of."""

TRAIN = """
import numpy as np
import tinynet as tn
x = np.linspace(-1, 1, 64)[:, None]
net = tn.Sequential(tn.Linear(1, 8), tn.Tanh(), tn.Linear(8, 1), dtype="float64", seed=0)
net.fit(x, x**2, epochs=20, batch_size=16, validation_split=0.25, optimizer=tn.Adam(0.01))
nets = tn.Ensemble(net, 3)
nets.fit(x, x**2, epochs=2)
net.save("net.npz")
assert np.array_equal(tn.load("net.npz").predict(x), net.predict(x))
print(net.backend.name, repr(net.history["loss"][-1]))
"""


def run(code: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_trains_without_compilers_is_numpy(tmp_path: Path) -> None:
    backend, loss = run(WITHOUT_COMPILERS + TRAIN, tmp_path).split()
    assert backend == "numpy"
    assert 0 < float(loss) < 0.1


def test_the_command_line_without_compilers_says_what_is_missing_and_what_is_in_use(tmp_path: Path) -> None:
    code = WITHOUT_COMPILERS + "from tinynet.cli.main import main\nmain(['info'])"
    info = run(code, tmp_path)
    assert re.search(r"^numba +The backend 'numba' needs .* pip install numba", info, re.MULTILINE)
    assert re.search(r"^in use +numpy \(TINYNET_BACKEND=auto\)", info, re.MULTILINE)


def test_asking_for_numba_where_it_is_not_is_an_error_and_no_other_backend(tmp_path: Path) -> None:
    code = WITHOUT_COMPILERS + (
        "import tinynet as tn\n"
        "try:\n    tn.Sequential(tn.Linear(1, 1), backend='numba')\n"
        "except tn.BackendUnavailableError as error:\n    print(error)\n"
    )
    assert "pip install numba" in run(code, tmp_path)


def test_without_posix_all_trains_to_the_same_bits(tmp_path: Path) -> None:
    assert run(WITHOUT_POSIX + TRAIN, tmp_path) == run(TRAIN, tmp_path)


MACHINES = [
    ("linux", "x86_64", "3.13", True),
    ("linux", "aarch64", "3.11", True),
    ("linux", "armv7l", "3.11", False),
    ("linux", "riscv64", "3.14", False),
    ("linux", "ppc64le", "3.12", False),
    ("darwin", "arm64", "3.14", True),
    ("darwin", "x86_64", "3.12", True),
    ("darwin", "x86_64", "3.14", False),
    ("win32", "AMD64", "3.14", True),
    ("win32", "ARM64", "3.13", True),
    ("win32", "ARM64", "3.11", False),
]
"""System, processor, Python, and whether Numba has a wheel for them (https://pypi.org/project/numba/#files)."""


@pytest.mark.parametrize(("system", "machine", "python", "has_wheels"), MACHINES)
def test_compilers_are_required_where_they_have_wheels(
    system: str, machine: str, python: str, has_wheels: bool
) -> None:
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    here = {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    wanted = [requirements.Requirement(line) for line in project["dependencies"]]
    names = [one.name for one in wanted if one.marker is None or one.marker.evaluate(here)]
    assert {"numpy", "scipy", "platformdirs"} <= set(names)
    for compiler in ("numba", "llvmlite"):
        assert names.count(compiler) == has_wheels
