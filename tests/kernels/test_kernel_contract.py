"""What every module of kernels promises: the same functions, the same tables, nothing loaded or compiled too early."""

from __future__ import annotations

import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tinynet_kernels
from tinynet_kernels import ACTIVATIONS, LOSSES, READS_Z, cpu, reference

FUNCTIONS = sorted(name for name in reference.__all__ if inspect.isfunction(getattr(reference, name)))
ROOT = str(Path(tinynet_kernels.__file__).parents[1])
CONTRACT = (Path(__file__).resolve().parents[2] / "kernels" / "README.md").read_text()


def parameters(function: object) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def run(code: str, **environment: str) -> str:
    path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    return result.stdout.strip()


def test_modules_export_the_same_names(kernels: ModuleType) -> None:
    assert sorted(kernels.__all__) == sorted(reference.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_equal(kernels: ModuleType, name: str) -> None:
    assert parameters(getattr(kernels, name)) == parameters(getattr(reference, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented(kernels: ModuleType, name: str) -> None:
    assert inspect.getdoc(getattr(kernels, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_reference_documents_every_parameter(name: str) -> None:
    document = inspect.getdoc(getattr(reference, name)) or ""
    section = document.partition("Parameters\n----------\n")[2]
    named = {
        word.strip()
        for line in section.splitlines()
        if line[:1].strip()
        for word in line.partition(" : ")[0].split(",")
    }
    assert {parameter for parameter, _, _ in parameters(getattr(reference, name))} <= named


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_readme_lists_every_function(name: str) -> None:
    assert f"`{name}(" in CONTRACT


@pytest.mark.parametrize("kind", [*ACTIVATIONS, *LOSSES])
def test_the_readme_lists_every_kind(kind: str) -> None:
    assert f"`{kind}`" in CONTRACT


def test_tables_are_those_of_the_package(kernels: ModuleType) -> None:
    assert kernels.ACTIVATIONS is ACTIVATIONS
    assert kernels.LOSSES is LOSSES
    assert kernels.READS_Z is READS_Z


def test_every_kind_of_activation_has_a_kernel(kernels: ModuleType) -> None:
    for kind in ACTIVATIONS:
        y = np.full((2, 3), np.nan)
        kernels.activation_forward(kind, np.ones((2, 3)), y, 0.5)
        assert not np.isnan(y).any(), kind


def test_an_unknown_kind_is_a_key_error(kernels: ModuleType) -> None:
    x, y = np.ones((2, 3)), np.full((2, 3), 7.0)
    with pytest.raises(KeyError, match="sigmod"):
        kernels.activation_forward("sigmod", x, y)
    with pytest.raises(KeyError, match="sigmod"):
        kernels.activation_backward("sigmod", x, x, x, y)
    with pytest.raises(KeyError, match="sigmod"):
        kernels.activation_curvature("sigmod", x, x, x[None], x[None], y)
    with pytest.raises(KeyError, match="msa"):
        kernels.loss_forward_backward("msa", x, x, None, y)
    assert (y == 7.0).all()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tinynet_kernels", {"numpy", "numba", "scipy"}),
        ("tinynet_kernels.reference", {"numba", "scipy"}),
    ],
)
def test_importing_loads_no_more_than_it_must(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print({absent!r} & {{name.partition('.')[0] for name in sys.modules}})"
    assert run(code) == "set()"


def test_a_second_process_finds_the_compiled_code(tmp_path: Path) -> None:
    code = """
import numba.core.event as event
import numpy as np
compiled = []
class Listener(event.Listener):
    def on_start(self, event): compiled.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event): pass
event.register("numba:compile", Listener())
from tinynet_kernels import cpu
z = np.ones((2, 3))
cpu.activation_forward("tanh", z, z.copy())
cpu.activation_forward("relu", z, z.copy())
cpu.loss_forward_backward("mse", z, z, None, z.copy())
cpu.sgd_step(z[0], z[1], z[:0], 1, 0.1, 0.0, False, 0.0)
print(len(compiled))
"""
    first, second = (int(run(code, NUMBA_CACHE_DIR=str(tmp_path))) for _ in range(2))
    assert first >= 4
    assert second == 0


def test_kernels_run_where_nothing_can_be_cached() -> None:
    code = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
import numpy as np
from tinynet_kernels import cpu
a = np.arange(3.0)
cpu.multiply(a, a, a)
print(a.tolist())
"""
    assert run(code) == "[0.0, 1.0, 4.0]"


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def test_inputs_may_be_read_only(kernels: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (read_only(rng.normal(size=size)) for size in [(4, 3), (3, 2), 2])
    z, y, dz, dx, dw, db = (np.empty(size) for size in [(4, 2), (4, 2), (4, 2), (4, 3), (3, 2), 2])
    t, weight, c = read_only(rng.random((4, 2))), read_only(rng.random(4)), read_only(np.array([0, 1, 1, 0]))
    kernels.linear_forward(x, w, b, z)
    kernels.linear_activation_forward("gelu", x, w, b, z, y)
    kernels.activation_forward("gelu", read_only(z), y)
    kernels.activation_backward("gelu", z, read_only(y), t, dz)
    kernels.activation_curvature("gelu", z, y, t[None], t[None], dz)
    kernels.linear_backward(x, w, read_only(dz), dw, db, dx)
    kernels.loss_forward_backward("mse", y, t, weight, dz.copy())
    kernels.loss_forward_backward("cross_entropy_index", y, c, weight, dz.copy())
    kernels.gather_rows(x, c, dx)
    kernels.multiply(x, x, dx)
    kernels.normalize_forward(t, b, b, dz.copy())
    kernels.normalize_backward(b, t, dz.copy())
    kernels.sgd_step(np.zeros(4), weight, np.zeros((0, 4)), 1, 0.1, 0.0, False, 0.0)
    for array in (dx, dw, db):
        assert np.isfinite(array).all()


def test_what_brings_the_kernels_has_no_name_of_a_module_of_theirs() -> None:
    """Importing such a module would put it in the place of what the name meant."""
    used = set(cpu.__getattr__.__code__.co_names)
    assert not used & {module.name for module in pkgutil.iter_modules(cpu.__path__)}
