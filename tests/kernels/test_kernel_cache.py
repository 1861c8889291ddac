"""Compiled code on disk: found again, and never stale."""

import errno
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
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
    formulas = copy / "formulas.py"
    formulas.write_text(
        formulas.read_text().replace("select(z <= 0, 0, z), lambda", "select(z <= 0, 0, 0 * z), lambda")
    )
    assert run(copy, CODE).stdout == "0.0\n"


def test_a_kernel_is_compiled_once(copy: Path) -> None:
    assert run(copy, CODE).stdout == "1.0\n"
    before = machine_code(copy.parent)
    assert before
    assert run(copy, CODE).stdout == "1.0\n"
    assert machine_code(copy.parent) == before


def test_two_processes_may_compile_at_once(copy: Path) -> None:
    settings = {**os.environ, "PYTHONPATH": str(copy.parent), "TINYNET_CACHE_DIR": str(copy.parent / "cache")}
    command = [sys.executable, "-c", CODE]
    both = [subprocess.Popen(command, env=settings, cwd=copy.parent, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [b"1.0\n", b"1.0\n"]


def test_processes_that_compile_at_once_do_not_take_each_others_code(copy: Path) -> None:
    """All kinds are variants of one function; each process begins with another, and then runs all of them."""
    code = """
import sys
import numpy as np
from tinynet_kernels import cpu
first = int(sys.argv[1])
kinds = ["relu", "tanh", "sigmoid"]
for kind in kinds[first:] + kinds[:first]:
    y = np.zeros((1, 1))
    cpu.activation_forward(kind, np.full((1, 1), -2.0), y)
    want = {"relu": 0.0, "tanh": np.tanh(-2.0), "sigmoid": 1 / (1 + np.exp(2.0))}[kind]
    assert abs(y[0, 0] - want) < 1e-12, (kind, y)
"""
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    for _ in range(2):
        command = [sys.executable, "-c", code]
        started = [subprocess.Popen([*command, str(i)], env=environment) for i in range(3)]
        assert [process.wait() for process in started] == [0, 0, 0]


def test_the_files_of_machine_code_have_names_of_their_own() -> None:
    from tinynet_kernels.cpu import optimizers

    names = {optimizers._clip._cache._cache_file._data_name(1)}
    code = "from tinynet_kernels.cpu import optimizers; print(optimizers._clip._cache._cache_file._data_name(1))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    for _ in range(2):
        names.add(subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip())
    assert len(names) == 3


UPDATES = """
import sys
import numpy as np
from tinynet_kernels import cpu

def train(momentum):
    parameters, moments = np.full(3, 0.1), np.ones((1, 3))
    for step in range(1, 3):
        cpu.sgd_step(parameters, np.ones(3), moments, step, 0.01, momentum, False, 0.5)
    return round(float(parameters[0]), 9)

print([train(float(momentum)) for momentum in sys.argv[1:]])
"""


def test_code_that_different_processes_compiled_works_together(copy: Path) -> None:
    # Each process gives the functions that it compiles numbers; those of two must not meet in a third.
    settings = {"TINYNET_CACHE_DIR": str(copy.parent / "cache"), "NUMBA_CACHE_DIR": str(copy.parent / "numba")}

    def train(*momentum: str) -> list[float]:
        command = [sys.executable, "-c", UPDATES, *momentum]
        environment = {**os.environ, **settings, "PYTHONPATH": str(copy.parent)}
        return json.loads(subprocess.check_output(command, env=environment, cwd=copy.parent, text=True))

    apart = train("0") + train("0.9")
    assert len(set(apart)) == 2
    assert train("0", "0.9") == apart
    assert train("0.9", "0") == apart[::-1]


def test_no_two_processes_number_functions_alike(copy: Path) -> None:
    code = """
import os
from numba.core.bytecode import FunctionIdentity
from tinynet_kernels.cpu import compiling
print(next(FunctionIdentity._unique_ids), flush=True)
if hasattr(os, "fork") and os.fork() == 0:
    print(next(FunctionIdentity._unique_ids), flush=True)
    os._exit(0)
"""
    numbers = [int(line) for _ in range(2) for line in run(copy, code).stdout.split()]
    assert len(set(numbers)) == len(numbers)
    apart = sorted(numbers)
    assert min(b - a for a, b in pairwise(apart)) > 1_000_000


FORK = """
import os, threading
from numba.core.compiler_lock import global_compiler_lock
from tinynet_kernels.cpu import compiling
begun = threading.Event()
def compile():
    with global_compiler_lock:
        begun.set()
        sum(range(3_000_000))
thread = threading.Thread(target=compile)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    os._exit(0 if global_compiler_lock._lock.acquire(timeout=5) else 1)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_waits_for_the_thread_that_compiles(copy: Path) -> None:
    assert run(copy, FORK).stdout.strip() == "0"


def test_a_damaged_cache_and_a_full_disk_cost_a_compilation_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinynet_kernels.cpu.compiling import compiled

    (tmp_path / "module.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    from module import double

    def hits() -> int:
        """Return how much a new kernel, as in a new process, has found on the disk."""
        kernel = compiled(double)
        assert kernel(21) == 42
        found: int = sum(kernel.stats.cache_hits.values())
        return found

    assert [hits(), hits()] == [0, 1]
    for ending in ("nbi", "nbc"):
        for damage in (b"", b"not ours"):
            for path in tmp_path.rglob(f"*.{ending}"):
                path.write_bytes(damage)
            assert [hits(), hits()] == [0, 1]

    def refuse(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shutil.rmtree(tmp_path / "__pycache__")
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", refuse)
    assert [hits(), hits()] == [0, 0]
