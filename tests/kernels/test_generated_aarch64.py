"""The code for AArch64 runs, under emulation, and trains as that for this processor does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aarch64
import numpy as np
import pytest
from tinynet_kernels.cpu.generated import programs, units
from tinynet_kernels.cpu.generated.compiler import host, to_object
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.cpu.generated.task import Space, Task, dtype_code

import tinynet as tn
from tinynet.backends.lowering import lower

pytestmark = pytest.mark.skipif(aarch64.EMULATOR is None, reason="needs qemu-aarch64 (apt install qemu-user)")

N, N_EPOCHS = 23, 3
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
WAYS = {"tiles": (20, 7), "samples": (5, 7), "registers": (5, 1)}
"""Units within, and rows of a batch."""


def neoverse() -> Target:
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return Target.of("aarch64-unknown-linux-gnu", "neoverse-n1", "")


def table(way: str, dtype: str, target: Target) -> Table:
    width, batch = WAYS[way]
    dropout = (tn.Dropout(0.2),) if way == "tiles" else ()
    net = tn.Sequential(tn.Linear(4, width), tn.Tanh(), *dropout, tn.Linear(width, 3), dtype=dtype, backend="numpy")
    plan = net.plan(tn.MeanSquaredError(), tn.Adam(), np.zeros((1, 3), dtype), batch, "epoch")
    network, sources = lower(plan.program, weighted=False, ordered=True), Sources(dtype_code(dtype), dtype_code(dtype))
    if way == "registers":
        return programs.training_registers(network, sources, target)
    if way == "samples":
        return programs.training_samples(network, sources, target, batch)
    return programs.training(network, sources, target, batch, batch)


def arrays_of(way: str, dtype: str) -> dict[str, Any]:
    rng, width = np.random.default_rng(0), WAYS[way][0]
    n = (4 + 1) * width + (width + 1) * 3
    arrays = {"x": rng.normal(size=(N, 4)), "y": rng.normal(size=(N, 3)), "parameters": rng.normal(size=n) / 2}
    arrays |= {"gradients": np.zeros(n), "moments": np.zeros((2, n)), "buffers": np.zeros(1)}
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    orders = np.array([rng.permutation(N) for _ in range(N_EPOCHS)])
    return arrays | {"order": orders, "rates": np.array([0.1, 0.05, 0.02]), "losses": np.zeros(N_EPOCHS)}


def words_of(way: str, arrays: dict[str, Any], counts: bool) -> dict[str, int]:
    words = {"n_visits": N, "batch": WAYS[way][1], "order_step": 8 * N, "n_rates": 1, "laps": N_EPOCHS, "ranges": 1}
    for name in ("x", "y"):
        words[f"{name}_row"], words[f"{name}_column"] = arrays[name].strides
    return words | {"n_epochs": 0 if counts else N_EPOCHS, "seed": 5}


@pytest.mark.parametrize(
    ("way", "dtype"), [("tiles", "float32"), ("tiles", "float64"), ("samples", "float32"), ("registers", "float64")]
)
def test_training_under_emulation_is_that_of_this_processor(way: str, dtype: str, tmp_path: Path) -> None:
    here = Task(table(way, dtype, host()))
    own = arrays_of(way, dtype)
    words = words_of(way, own, here.counts) | {name: array.ctypes.data for name, array in own.items()}
    assert here(words, float(N))

    target = neoverse()
    made, image, arrays = table(way, dtype, target), aarch64.Image(), arrays_of(way, dtype)
    kernels = {}
    for unit in sorted(made.units | {"core"}):
        image.link(to_object(units.text_of(unit, dtype, target), target))
        for kernel in units.kernels_of(unit):
            kernels[unit, kernel.name] = image.symbols[units.symbol(unit, kernel.name, dtype)]
    space = Space(made)
    space.put(words_of(way, arrays, here.counts))
    space.divide(float(N))
    places = {name: image.put_array(array) for name, array in arrays.items()}
    space.put(places | {"arena": image.put(bytes(made.size()), 4096), "yield": 0, "team": image.put(bytes(4096))})
    space.words[PLACES["finite"]] = 1
    context, steps = image.put(bytes(space.words)), image.put_array(made.words(kernels))
    results = [(places[name], arrays[name].nbytes) for name in ("losses", "parameters")]
    output = image.run(tmp_path, kernels["core", "drive"], (context, steps), results)

    losses, parameters = np.frombuffer(output[: 8 * N_EPOCHS]), np.frombuffer(output[8 * N_EPOCHS :], dtype)
    np.testing.assert_allclose(losses, own["losses"], rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(parameters, own["parameters"], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert not np.allclose(parameters, arrays["parameters"])
