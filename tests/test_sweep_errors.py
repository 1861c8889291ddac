"""sweep: what does not fit is told before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
from sweep_runs import build, quick

import tinynet as tn


class Double(tn.Layer):
    def forward(self, x: Any, training: bool = False) -> Any:
        return 2 * x

    def backward(self, dy: Any) -> Any:
        return 2 * dy


def anything(**settings: Any) -> tn.Sequential:
    return build(**settings)


def needs(width: int) -> tn.Sequential:
    return build(width)


ERRORS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "unknown name": ({"widht": [3]}, {}, ValueError, "got 'widht'. build takes 'width', 'dropout'.*'learning_rate'"),
    "not of the optimizer": ({"beta1": [0.9]}, {"optimizer": "sgd"}, ValueError, "got 'beta1'"),
    "unknown optimizer": ({"optimizer": ["sdg"]}, {}, ValueError, "optimizer must be one of"),
    "bad value": ({"learning_rate": [-1.0]}, {}, ValueError, "learning_rate must be a finite number > 0"),
    "bad epochs": ({"epochs": [0]}, {}, ValueError, "epochs must be a whole number >= 1"),
    "bad shuffle": ({"shuffle": ["no"]}, {}, ValueError, "shuffle must be True, False or 'replacement'"),
    "schedule replaced": (
        {"learning_rate": [0.1]},
        {"optimizer": tn.SGD(tn.CosineDecay(0.1, 3))},
        ValueError,
        "would replace the schedule.*Give a function",
    ),
    "one for each model": ({}, {"optimizer": tn.SGD([0.1, 0.2])}, ValueError, "one number for the learning_rate"),
    "missing": ({}, {"build": needs}, TypeError, "build cannot be called with nothing.*'width'"),
    "no network": ({}, {"build": lambda: 3}, TypeError, "build must return Sequential; got 3"),
    "no function": ({}, {"build": 3}, TypeError, "expects a function build"),
    "no optimizer": ({}, {"optimizer": lambda: 3}, TypeError, "optimizer must return Optimizer; got 3"),
    "custom layer": (
        {},
        {"build": lambda: tn.Sequential(tn.Linear(3, 1), Double(), backend="numpy")},
        TypeError,
        "built-in layers; got Double",
    ),
    "not adapted": (
        {},
        {"build": lambda: tn.Sequential(tn.Normalize(3), tn.Linear(3, 1), backend="numpy")},
        ValueError,
        "has seen no data yet",
    ),
    "wrong width": (
        {},
        {"build": lambda: tn.Sequential(tn.Linear(2, 1), backend="numpy")},
        ValueError,
        r"Linear\(2, 1\) expects x of shape",
    ),
    "seeds": ({}, {"seeds": [1, 1]}, ValueError, "at least one, all different"),
    "seeds 0": ({}, {"seeds": 0}, ValueError, "seeds must be a whole number >= 1"),
    "callbacks": ({}, {"callbacks": [tn.CSVLogger("a.csv")]}, TypeError, "EarlyStopping and ReduceLROnPlateau"),
    "by": ({}, {"by": "val_r2"}, ValueError, "by expects a figure of this sweep, 'loss', 'val_loss'; got 'val_r2'"),
    "both": ({}, {"validation_split": 0.2}, ValueError, "validation_data or validation_split, not both"),
    "verbose": ({}, {"verbose": 3}, ValueError, "verbose must be 0, 1 or 2"),
    "threads": ({}, {"threads": 0}, ValueError, "threads must be a whole number >= 1"),
    "group_size": ({}, {"group_size": 0}, ValueError, "group_size must be a whole number >= 1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_does_not_fit_is_an_error_before_anything_is_trained(case: str, tmp_path: Any) -> None:
    space, options, error, message = ERRORS[case]
    with pytest.raises(error, match=message):
        quick(space, folder=tmp_path / "sweep", **options)
    assert not (tmp_path / "sweep").exists()


def test_a_build_that_takes_any_name_gets_what_nobody_else_knows() -> None:
    result = quick({"width": [4, 6], "learning_rate": [0.1]}, build=anything)
    assert {result.model(run).program.ops[1].n_out for run in range(2)} == {4, 6}


@pytest.mark.parametrize("name", ["model", "losses", "ensemble", "summary"])
def test_asking_for_what_is_not_there_is_an_error(name: str) -> None:
    result = quick({})
    wrong: dict[str, Any] = {"model": 7, "losses": "accuracy", "ensemble": 3, "summary": "val_r2"}
    with pytest.raises(ValueError, match=f"expects .*{wrong[name]!r}"):
        getattr(result, name)(wrong[name])
