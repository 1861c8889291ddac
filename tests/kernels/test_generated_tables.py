"""Steps of tables have the arguments that their kernels read: one too many would shift those behind it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from tinynet_kernels.cpu.generated import programs, units
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.frame import Frame, write
from tinynet_kernels.cpu.generated.ir import Module
from tinynet_kernels.cpu.generated.table import Sources, Step, Table

import tinynet as tn
from tinynet.backends.lowering import lower

SOURCES = Sources("<f4", "<f4", "<f4")
LAYERS = {
    "norms": lambda: [
        *(tn.Normalize(3), tn.Linear(3, 20), tn.LayerNorm(20), tn.GELU(), tn.Dropout(0.1)),
        *(tn.Residual(tn.BatchNorm(20), tn.Tanh()), tn.Residual(tn.Linear(20, 30), tn.ReLU()), tn.Linear(30, 2)),
    ],
    "large": lambda: [tn.Linear(3, 600), tn.ReLU(), tn.Linear(600, 600, bias=False), tn.Tanh(), tn.Linear(600, 2)],
    "small": lambda: [tn.Linear(3, 3), tn.Tanh(), tn.Linear(3, 2)],
}
OPTIMIZERS = (
    tn.SGD(),
    tn.SGD(momentum=0.9, nesterov=True),
    tn.AdamW(weight_decay=lambda name: 0.1, clip_norm=1.0, clip_value=1.0),
    tn.Adam(epsilon=0.0),
    tn.RMSprop(centered=True),
)


def tables(name: str) -> Iterator[Table]:
    for optimizer in OPTIMIZERS:
        net = tn.Sequential(*LAYERS[name](), backend="numpy")
        plan = net.plan(tn.MeanSquaredError(), optimizer, np.zeros((1, 2), "f4"), 12, "epoch")
        network = lower(plan.program, weighted=True, ordered=True)
        yield programs.training(network, SOURCES, host(), 12, 12)
    kept = tuple(layer for layer in network.layers if layer.kind != "dropout")
    yield programs.gradient(network.layers, network.loss, "float32", SOURCES, host(), 12, 12)
    yield programs.evaluation(kept, network.loss, "float32", SOURCES, host(), 12)
    yield programs.prediction(kept, "float32", SOURCES, host(), 12)
    if name == "small":
        yield programs.training_samples(network, SOURCES, host(), 12)
        yield programs.training_registers(network, SOURCES, host())
        yield programs.prediction(kept, "float32", SOURCES, host(), 2, few=True)


@pytest.mark.parametrize("name", LAYERS)
def test_steps_have_the_arguments_that_their_kernels_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[int] = set()

    def noting(method: Any) -> Any:
        def noted(frame: Frame, i: int) -> Any:
            read.add(i)
            return method(frame, i)

        return noted

    for method in ("size", "double"):
        monkeypatch.setattr(Frame, method, noting(getattr(Frame, method)))

    @cache
    def reads(unit: str, kernel: str) -> int:
        read.clear()
        write(Module(host(), "float32", 1), [made for made in units.kernels_of(unit) if made.name == kernel])
        assert read == set(range(len(read)))
        return len(read)

    steps: list[Step] = [step for table in tables(name) for part in table.parts.values() for step in part]
    # The last argument of a gather, its first column, is 0 where it is left out.
    optional = {"gather": 1, "doubles": 1}
    for step in steps:
        lacking = reads(step.unit, step.kernel) - len(step.arguments)
        assert 0 <= lacking <= optional.get(step.kernel, 0), step
