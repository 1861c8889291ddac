"""The differential test itself: some of its cases, and whether it would notice a fault."""

from __future__ import annotations

from typing import Any

import pytest
from differential import oracle
from differential.cases import random_case
from differential.checks import Mismatch, check


@pytest.mark.parametrize("seed", range(40))
def test_a_random_training_agrees_with_the_textbook(seed: int) -> None:
    check(random_case(seed), "numpy")


def test_cases_are_of_every_kind() -> None:
    cases = [random_case(seed) for seed in range(2000)]
    assert {case.way for case in cases} == {"once", "twice", "resume", "ensemble", "slices"}
    assert {sum(layer[0] == "Linear" for layer in case.layers) for case in cases} == {1, 2, 3, 4, 5, 6}
    assert len({layer[0] for case in cases for layer in case.layers}) == 14
    assert len({(case.loss[0], case.loss[2], case.optimizer[0], case.dtype) for case in cases}) == 8 * 2 * 4 * 2


def test_a_training_of_other_updates_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    update = oracle.Optimizer.update
    monkeypatch.setattr(oracle.Optimizer, "update", lambda self, net, g, rate: update(self, net, g, 1.001 * rate))
    found = 0
    for seed in range(12):
        try:
            check(random_case(seed), "numpy")
        except Mismatch:
            found += 1
    assert found >= 9  # In float32, and where little is updated, one part in a thousand may be rounding.


def test_other_masks_of_dropout_are_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = oracle.Net._mask
    monkeypatch.setattr(oracle.Net, "_mask", lambda self, *args: mask(self, *args)[::-1])
    dropping: list[Any] = [c for c in map(random_case, range(200)) if any(kind[0] == "Dropout" for kind in c.layers)]
    found = 0
    for case in dropping[:8]:
        try:
            check(case, "numpy")
        except Mismatch:
            found += 1
    assert found >= 4  # A mask may be its own mirror image, and a rate of 0 drops nothing.
