"""Data sets: the sine problem, targets, and files that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.datasets import Dataset, read, sine
from tinynet.datasets.targets import encode, find_task

# -- the sine problem ------------------------------------------------------------------------------------------------


def test_the_sine_problem_is_the_notebooks() -> None:
    data = sine(1000, seed=3)
    assert data.y is not None
    assert data.x.shape == (1000, 4)
    assert data.x.min() >= 0
    assert data.x.max() < 6
    for x, y in zip(data.x.tolist(), data.y.tolist(), strict=True):
        assert y == pytest.approx([np.sin(x[0] + x[1] + x[2] + x[3]), np.sin(6 * x[1]), np.sin(x[1] + x[3])])


def test_the_sine_problem_follows_its_seed() -> None:
    assert sine(9, seed=1).x.tobytes() == sine(9, seed=1).x.tobytes() != sine(9, seed=2).x.tobytes()


# -- files that are not there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing.csv", "nothing.npy", "nothing.npz", "nothing"])
def test_a_file_that_is_not_there_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / name)


# -- targets ---------------------------------------------------------------------------------------------------------


def dataset(y: Any, **more: Any) -> Dataset:
    array = np.array(y)
    names = tuple(f"t{i}" for i in range(1 if array.ndim == 1 else array.shape[1]))
    return Dataset(np.zeros((len(array), 1)), array, None, names, "here", **more)


TASKS: dict[str, tuple[Dataset, str, tuple[Any, ...] | None]] = {
    "texts": (dataset(["b", "a", "b", "a"]), "auto", ("a", "b")),
    "few whole numbers": (dataset(["2", "1", "2.0", "1"]), "auto", (1, 2)),
    "whole floats": (dataset([2.0, 1.0, 2.0, 1.0]), "auto", (1, 2)),
    "negative classes": (dataset([-1, 1, -1, 1]), "auto", (-1, 1)),
    "truth values": (dataset([True, False, True, False]), "auto", (0, 1)),
    "fractions": (dataset([0.5, 1.0, 0.5, 1.0]), "auto", None),
    "whole numbers that do not repeat": (dataset([1, 2, 3, 4]), "auto", None),
    "many whole numbers": (dataset(np.arange(21).repeat(9)), "auto", None),
    "20 whole numbers": (dataset(np.arange(20).repeat(9)), "auto", tuple(range(20))),
    "several targets": (dataset([[0, 1], [1, 0], [0, 1], [1, 0]]), "auto", None),
    "labels of images": (dataset([3, 4], labelled=True), "auto", (3, 4)),
    "classes wanted": (dataset([1, 2, 3, 4]), "classification", (1, 2, 3, 4)),
    "numbers wanted": (dataset([1, 2, 1, 2]), "regression", None),
    "mostly texts": (dataset(["1", "a", "b", "a", "b"]), "auto", ("1", "a", "b")),
}


@pytest.mark.parametrize(("data", "wanted", "classes"), TASKS.values(), ids=TASKS.keys())
def test_targets_are_told_to_be_classes_or_numbers(data: Dataset, wanted: str, classes: Any) -> None:
    assert find_task(data, wanted).classes == classes


BAD_TASKS: dict[str, tuple[Dataset, str, str]] = {
    "a slip among numbers": (dataset(["1.5", "2,5", "3", "4"]), "auto", "row 1: the target is '2,5', but 75%"),
    "text for numbers": (dataset(["1", "x"]), "regression", "row 1: the target must be a number; got 'x'"),
    "texts in several": (dataset([["1", "a"], ["2", "b"]]), "auto", "row 0: the target must be a number; got '1, a'"),
    "several classes": (dataset([[1, 2], [1, 2]]), "classification", "expects one target; got 2"),
    "fractions": (dataset([0.0, 0.5]), "classification", "row 1: classes must be texts or whole numbers; got 0.5"),
    "one class": (dataset(["a", "a"]), "auto", "'t0' is always 'a'; expected at least two"),
    "names": (dataset([f"n{i}" for i in range(50)]), "auto", "50 different values in 50 rows; classes must repeat"),
    "NaN": (dataset([0.5, np.nan]), "auto", "row 1: the target must be finite"),
    "task": (dataset([0.5, 1.0]), "clustering", "--task must be one of"),
}


@pytest.mark.parametrize(("data", "wanted", "message"), BAD_TASKS.values(), ids=BAD_TASKS.keys())
def test_targets_that_do_not_do_are_refused(data: Dataset, wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_task(data, wanted)


@given(
    st.lists(st.sampled_from(["x", "yy", "z z", "\u00e4"]), min_size=1), st.permutations(["x", "yy", "z z", "\u00e4"])
)
def test_labels_are_encoded_as_their_place_among_the_classes(labels: list[str], classes: list[str]) -> None:
    assert encode(dataset(labels), tuple(classes)).tolist() == [classes.index(label) for label in labels]


@pytest.mark.parametrize("y", [["2", "7.0", "2"], [2, 7, 2], [2.0, 7.0, 2.0]])
def test_whole_numbers_are_encoded_however_they_are_written(y: Any) -> None:
    assert encode(dataset(y), (2, 7)).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("y", "classes"), [(["a", "c"], ("a", "b")), ([1, 5], (1, 2)), ([1, 0], (1, 2))])
def test_a_label_that_is_no_class_is_refused_with_its_place(y: Any, classes: Any) -> None:
    with pytest.raises(ValueError, match=f"here, row 1: {y[1]!r} is not one of the classes {classes[0]!r}"):
        encode(dataset(y), classes)
