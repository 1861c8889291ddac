"""The differential test itself: some of its cases, and whether it would notice a fault."""

from __future__ import annotations

from typing import Any

import pytest
from differential import oracle
from differential.cases import COPIES, FORMS, OPTIMIZERS, WAYS, WHOLE, random_case
from differential.checks import check
from differential.comparing import Mismatch


@pytest.mark.parametrize("seed", range(12, 36))
def test_a_random_training_agrees_with_the_textbook(seed: int) -> None:
    check(random_case(seed), "numpy")


def test_cases_are_of_every_kind() -> None:
    cases = [random_case(seed) for seed in range(2000)]
    assert {case.way for case in cases} == set(WAYS)
    assert {case.form for case in cases} == set(FORMS)
    assert {case.copy for case in cases} == set(COPIES)
    assert {bool(case.frozen) for case in cases} == {case.class_weight is None for case in cases} == {False, True}
    assert {case.optimizer[0] for case in cases} == {*OPTIMIZERS, *WHOLE}
    assert {sum(layer[0] == "Linear" for layer in case.layers) for case in cases} == {1, 2, 3, 4, 5, 6}
    assert len({layer[0] for case in cases for layer in case.layers}) == 14
    stepwise = {(c.loss[0], c.loss[2], c.optimizer[0], c.dtype) for c in cases if c.optimizer[0] in OPTIMIZERS}
    assert len(stepwise) == 8 * 2 * 4 * 2


def test_a_training_of_other_updates_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    update = oracle.Optimizer.update
    monkeypatch.setattr(oracle.Optimizer, "update", lambda self, net, g, rate: update(self, net, g, 1.001 * rate))
    cases = [c for c in map(random_case, range(100)) if c.dtype == "float64" and c.way in ("once", "twice")]
    found = 0
    for case in cases[:8]:
        try:
            check(case, "numpy")
        except Mismatch:
            found += 1
    assert found >= 6  # Where little is updated, one part in a thousand may be rounding.


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
