"""Spaces of settings: grids, random searches, and the distributions that they draw from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import tinynet as tn
from tinynet.cli.ranges import values
from tinynet.sweeps.space import settings_of

N = 2000


def drawn(distribution: Any, n: int = N) -> list[Any]:
    return [one["s"] for one in settings_of({"s": distribution}, n_samples=n, seed=3)]


def test_a_grid_is_every_combination_in_order() -> None:
    space = {"a": [1, 2], "b": ("x", "y"), "c": np.array([0.5])}
    expected = [(1, "x", 0.5), (1, "y", 0.5), (2, "x", 0.5), (2, "y", 0.5)]
    assert [tuple(one.values()) for one in settings_of(space)] == expected


def test_several_spaces_are_tried_one_after_the_other() -> None:
    assert settings_of([{"a": [1]}, {"b": [2, 3]}]) == [{"a": 1}, {"b": 2}, {"b": 3}]


def test_an_empty_space_is_one_setting() -> None:
    assert settings_of({}) == [{}]


def test_values_of_numpy_become_pythons() -> None:
    (setting,) = settings_of({"a": np.geomspace(0.1, 1, 1), "b": [np.int64(3)]})
    assert [type(value) for value in setting.values()] == [float, int]


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_samples_of_lists_are_different_members_of_the_grid(sizes: list[int], data: Any) -> None:
    space = {f"s{i}": list(range(size)) for i, size in enumerate(sizes)}
    total = int(np.prod(sizes))
    n = data.draw(st.integers(1, total))
    found = [tuple(one.values()) for one in settings_of(space, n_samples=n, seed=0)]
    assert len(set(found)) == n
    assert set(found) <= set(np.ndindex(*sizes))


def test_samples_of_several_grids_reach_all_of_them() -> None:
    spaces = [{"a": [1, 2]}, {}, {"b": [3, 4, 5]}]
    found = settings_of(spaces, n_samples=6, seed=0)
    assert sorted(map(repr, found)) == sorted(map(repr, [{"a": 1}, {"a": 2}, {}, {"b": 3}, {"b": 4}, {"b": 5}]))


def test_the_same_seed_draws_the_same_settings() -> None:
    space = {"a": tn.LogUniform(1e-4, 1), "b": tn.IntUniform(1, 100), "c": scipy.stats.loguniform(1e-3, 1)}
    first, again, other = (settings_of(space, n_samples=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("distribution", "cdf"),
    [
        (tn.LogUniform(1e-4, 1e-1), scipy.stats.loguniform(1e-4, 1e-1).cdf),
        (tn.Uniform(-1.0, 3.0), scipy.stats.uniform(-1, 4).cdf),
        (tn.Uniform(0.5), scipy.stats.uniform(-0.5, 1).cdf),
        (scipy.stats.gamma(2.0), scipy.stats.gamma(2.0).cdf),
        (tn.Normal(2.0), scipy.stats.norm(0, 2).cdf),
    ],
    ids=["log-uniform", "uniform", "uniform around 0", "scipy.stats", "normal"],
)
def test_numbers_follow_their_distribution(distribution: Any, cdf: Any) -> None:
    sample = drawn(distribution)
    assert all(type(value) is float for value in sample)
    # Kolmogorov and Smirnov's test, at a level that a right sampler misses once in 10,000 seeds; this seed is fixed.
    assert scipy.stats.kstest(sample, cdf).pvalue > 1e-4


def test_whole_numbers_reach_both_ends_evenly() -> None:
    sample = drawn(tn.IntUniform(-1, 3))
    counts = [sample.count(value) for value in range(-1, 4)]
    assert sum(counts) == N
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_choices_keep_their_probabilities_and_their_kind() -> None:
    sample = drawn(tn.Choice([(8, 8), (16,), None], [0.5, 0.5, 0.0]))
    assert set(sample) == {(8, 8), (16,)}
    assert scipy.stats.binomtest(sample.count((16,)), N).pvalue > 1e-4


@pytest.mark.parametrize(
    ("space", "n_samples", "error", "message"),
    [
        ({"a": 3}, None, TypeError, r"list of values or a distribution for 'a'; got 3. For one value write \[3\]"),
        ({"a": "relu"}, None, TypeError, r"For one value write \['relu'\]"),
        ({"a": []}, None, ValueError, "at least one value for 'a'; got none"),
        ([], None, ValueError, "got an empty list"),
        ([3], None, TypeError, "a dict of names to values, or a list of such dicts; got 3"),
        ({"a": tn.LogUniform(1, 2)}, None, ValueError, "distribution for 'a', and a grid needs a list"),
        ({"a": [1, 2]}, 3, ValueError, "n_samples=3 asks for more settings than the space has, 2"),
        ({"a": [1, 2]}, 0, ValueError, "n_samples must be a whole number >= 1"),
    ],
)
def test_a_space_that_is_none_is_an_error(space: Any, n_samples: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        settings_of(space, n_samples)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tn.LogUniform(0, 1), "low must be a finite number > 0"),
        (lambda: tn.LogUniform(2, 1), "high must be a finite number > 2"),
        (lambda: tn.Uniform(2.0, 1.0), "high must be a finite number > 2"),
        (lambda: tn.IntUniform(3, 2), "high must be a whole number >= 3"),
        (lambda: tn.Choice([]), "a list of values"),
        (lambda: tn.Choice([1], [0.5, 0.5]), "one for each of 1 values; got 2"),
        (lambda: tn.Choice([1, 2], [0.5, 0.4]), "a sum of 1; got 0.9"),
    ],
)
def test_a_distribution_that_is_none_is_an_error(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- as the command line writes them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", [0.1]),
        ("0.1, 0.01", [0.1, 0.01]),
        ("1e-3:1e-1:log:3", [0.001, 0.01, 0.1]),
        ("0:0.5:linear:3", [0.0, 0.25, 0.5]),
        ("1e-3:1e-1:log", tn.LogUniform(0.001, 0.1)),
        ("0:0.5:linear", tn.Uniform(0.0, 0.5)),
    ],
)
def test_ranges(text: str, expected: Any) -> None:
    assert values("--rate", text, float) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:2", "a range such as 1e-4:1e-1:log:20"),
        ("1:2:cubic:3", "a range such as"),
        ("2:1:log:3", "from a lower to a higher number"),
        ("0:1:log:3", "above 0 for a logarithmic scale"),
        ("1:2:log:1", "the number of steps of --rate must be a whole number >= 2"),
        ("1:2:log:x", "the number of steps of --rate must be a whole number"),
    ],
)
def test_a_range_that_is_none_is_an_error(text: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        values("--rate", text, float)
