"""C source: it compiles without a warning and computes what the network does, for every layer, as float and double."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_networks import ALPHAS, DERIVED, GRID, KINDS, LEVELS, NAMES, X, activation_alone, embedded, network
from kernels_oracle import ACTIVATION, exact

import tinynet as tn

CC, CXX = shutil.which("cc"), shutil.which("c++")
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler (cc) on this machine")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion", "-Wconversion", "-O1"]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}

MAIN = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    REAL x[NET_N_IN], y[NET_N_OUT];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        net_predict(x, y);
        if (fwrite(y, sizeof y, 1, stdout) != 1) return 1;
    }
    return 0;
}
"""


def run(net: tn.Sequential, x: np.ndarray, folder: Path, dtype: str | None = None) -> np.ndarray:
    """Predict with the compiled header."""
    dtype = dtype or net.dtype
    net.to_c(folder / "net.h", dtype=dtype)
    (folder / "main.c").write_text(MAIN.replace("REAL", {"float32": "float", "float64": "double"}[dtype]))
    assert CC is not None
    subprocess.run([CC, "-std=c99", *STRICT, "main.c", "-lm", "-o", "main"], cwd=folder, check=True)
    result = subprocess.run([folder / "main"], input=x.astype(dtype).tobytes(), capture_output=True, check=True)
    return np.frombuffer(result.stdout, dtype).reshape(len(x), -1)


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_the_program_computes_what_the_network_does(name: str, dtype: str, tmp_path: Path) -> None:
    net = network(name, dtype)
    expected = net.predict(X)
    tolerance = TOLERANCE[dtype] * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(run(net, X, tmp_path), expected, rtol=0, atol=tolerance)


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_program_picks_the_vectors_of_levels(dtype: str, tmp_path: Path) -> None:
    net = embedded(dtype)
    np.testing.assert_allclose(run(net, LEVELS, tmp_path), net.predict(LEVELS), rtol=0, atol=TOLERANCE[dtype] * 10)


@needs_cc
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"softmax"}))
def test_activations_are_exact(kind: str, tmp_path: Path) -> None:
    y = run(activation_alone(kind), GRID[:, None], tmp_path)[:, 0]
    alpha = exact(ALPHAS.get(kind, 0.0))
    expected = np.array([float(ACTIVATION[kind](exact(z), alpha)) for z in GRID])
    # Rounding z / sqrt(2) costs the tail of gelu z**2 units.
    np.testing.assert_allclose(y, expected, rtol=4e-13 if kind == "gelu" else 4e-15, atol=1e-300)


LIMITS = {
    "identity": (np.inf, -np.inf),
    "sigmoid": (1.0, 0.0),
    "tanh": (1.0, -1.0),
    "relu": (np.inf, 0.0),
    "leaky_relu": (np.inf, -np.inf),
    "elu": (np.inf, -ALPHAS["elu"]),
    "gelu": (np.inf, 0.0),
    "silu": (np.inf, 0.0),
    "softplus": (np.inf, 0.0),
    "exponential": (np.inf, 0.0),
    "softmax": (np.nan, np.nan),  # The weight 0 makes NaN of infinity.
}


@needs_cc
@pytest.mark.parametrize("kind", KINDS)
def test_infinity_gives_the_limit_and_nan_gives_nan(kind: str, tmp_path: Path) -> None:
    y = run(activation_alone(kind), np.array([[np.inf], [-np.inf], [np.nan]]), tmp_path)
    np.testing.assert_array_equal(y[:, 0], [*LIMITS[kind], np.nan])


@needs_cc
def test_a_network_can_be_written_in_another_dtype(tmp_path: Path) -> None:
    net = network("Tanh", "float64")
    y = run(net, X, tmp_path, dtype="float32")
    np.testing.assert_allclose(y, net.predict(X), atol=2e-6)
    np.testing.assert_allclose(run(network("Tanh", "float32"), X, tmp_path, dtype="float64"), y, atol=2e-6)


@needs_cc
def test_networks_of_several_shapes_use_their_buffers_rightly(tmp_path: Path) -> None:
    shapes: list[list[tn.Layer]] = [
        [tn.Linear(3, 2)],
        [tn.Linear(3, 7), tn.Linear(7, 1), tn.Linear(1, 9)],
        [tn.Normalize(3).adapt(X), tn.Tanh()],
        [tn.Normalize(3).adapt(X), tn.Tanh(), tn.Linear(3, 8), tn.Linear(8, 8), tn.Linear(8, 8), tn.Softmax()],
        [tn.Linear(3, 3), tn.Tanh(), tn.Identity(), tn.Dropout(0.5), tn.Sigmoid(), tn.Softmax()],
    ]
    for layers in shapes:
        net = tn.Sequential(layers, dtype="float64", seed=1, backend="numpy")
        np.testing.assert_allclose(run(net, X, tmp_path), net.predict(X), atol=1e-13)


@pytest.mark.skipif(CXX is None, reason="there is no C++ compiler (c++) on this machine")
def test_one_cpp_program_can_hold_several_networks(tmp_path: Path) -> None:
    for name in NAMES:
        network(name, "float32").to_c(tmp_path / f"{name}.h", name=name)
    lines = [f'#include "{name}.h"' for name in NAMES]
    calls = [f"    {name}_predict(x, y);" for name in NAMES]
    (tmp_path / "all.cpp").write_text("\n".join([*lines, *lines, "void all(float *x, float *y) {", *calls, "}\n"]))
    assert CXX is not None
    subprocess.run([CXX, "-Wall", "-Wextra", "-Werror", "-c", "all.cpp"], cwd=tmp_path, check=True)


def test_the_text_is_what_is_written(tmp_path: Path) -> None:
    text = network("GELU").to_c(tmp_path / "net.h", name="my_net2")
    assert (tmp_path / "net.h").read_text() == text
    assert set(re.findall(r"#include (.*)", text)) == {"<math.h>"}
    assert "malloc" not in text


@pytest.mark.parametrize("name", ["", "2nets", "a-b", "a b", "_net", "net;", "n\u00e4t", "net\n", "a*/", None])
def test_names_that_are_no_identifiers_are_refused(name: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        network("Tanh").to_c(tmp_path / "net.h", name=name)
    assert not list(tmp_path.iterdir())


@needs_cc
@pytest.mark.parametrize("name", ["REAL", "NAME", "exp", "SQRT_HALF", "int", "n"])
def test_names_may_be_words_of_the_header(name: str, tmp_path: Path) -> None:
    network("GELU").to_c(tmp_path / "net.h", name=name)
    (tmp_path / "main.c").write_text(
        f'#include "net.h"\nint main(void) {{ double x[3] = {{0}}, y[5]; {name}_predict(x, y); return 0; }}\n'
    )
    assert CC is not None
    subprocess.run([CC, "-std=c99", *STRICT, "main.c", "-lm", "-o", "main"], cwd=tmp_path, check=True)


def test_weights_too_large_for_the_dtype_are_refused() -> None:
    net = network("Tanh", "float64")
    net.layers[0].weight[0, 0] = 1e300
    with pytest.raises(ValueError, match="fit into float; net_weight0"):
        net.to_c(dtype="float32")
    assert "1e+300" in net.to_c()


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        network("Tanh").to_c(dtype="float16")


class Double(tn.Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, grad: Any) -> Any:
        return 2 * grad


def test_layers_in_python_are_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"layer 1, Double\(\), is written in Python; C source"):
        tn.Sequential(tn.Linear(3, 2), Double(), backend="numpy").to_c()


JACOBIAN = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    REAL x[NET_N_IN], y[NET_N_OUT], j[NET_N_OUT * NET_N_IN];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        net_jacobian(x, y, j);
        if (fwrite(y, sizeof y, 1, stdout) != 1 || fwrite(j, sizeof j, 1, stdout) != 1) return 1;
        net_predict(x, y);
    }
    return 0;
}
"""


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_jacobian_is_that_of_the_network(dtype: str, tmp_path: Path) -> None:
    """Of all kinds of layers, compiled side by side."""
    assert CC is not None
    processes = []
    for name in DERIVED:
        folder = tmp_path / name
        folder.mkdir()
        network(name, dtype).to_c(folder / "net.h", jacobian=True)
        (folder / "main.c").write_text(JACOBIAN.replace("REAL", {"float32": "float", "float64": "double"}[dtype]))
        command = [CC, "-std=c99", *STRICT, "main.c", "-lm", "-o", "main"]
        processes.append(subprocess.Popen(command, cwd=folder))
    for name, process in zip(DERIVED, processes, strict=True):
        assert process.wait() == 0, name
        net, x = network(name, dtype), X[:8].astype(dtype)
        result = subprocess.run([tmp_path / name / "main"], input=x.tobytes(), capture_output=True, check=True)
        found = np.frombuffer(result.stdout, dtype).reshape(len(x), -1)
        expected = np.hstack([net.predict(x), net.jacobian(x).reshape(len(x), -1)])
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found, expected, atol=10 * TOLERANCE[dtype] * scale, err_msg=name)
