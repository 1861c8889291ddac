"""Optimizer steps against their formulas for one number at a time, and against PyTorch; clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference

N_STEPS = 6


def sgd(p: float, gradients: list[float], rate: float, momentum: float, nesterov: bool, decay: float) -> float:
    velocity = 0.0
    for g in gradients:
        g += decay * p
        velocity = momentum * velocity + g
        p -= rate * (g + momentum * velocity if nesterov else velocity)
    return p


def adam(p: float, gradients: list[float], rate: float, beta1: float, beta2: float, eps: float, decay: float) -> float:
    m = v = 0.0
    for step, g in enumerate(gradients, 1):
        g += decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p -= rate * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + eps)
    return p


def adam_hat(
    p: float, gradients: list[float], rate: float, beta1: float, beta2: float, eps: float, decay: float, hat: bool
) -> float:
    m = v = 0.0
    for step, g in enumerate(gradients, 1):
        g += decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p -= rate * math.sqrt(1 - beta2**step) / (1 - beta1**step) * m / (math.sqrt(v) + eps)
    return p


def adamw(p: float, gradients: list[float], rate: float, beta1: float, beta2: float, eps: float, decay: float) -> float:
    m = v = 0.0
    for step, g in enumerate(gradients, 1):
        p -= rate * decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p -= rate * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + eps)
    return p


def rmsprop(
    p: float,
    gradients: list[float],
    rate: float,
    alpha: float,
    eps: float,
    decay: float,
    momentum: float,
    centered: bool,
) -> float:
    square = velocity = average = 0.0
    for g in gradients:
        g += decay * p
        square = alpha * square + (1 - alpha) * g**2
        average = alpha * average + (1 - alpha) * g
        variance = max(square - average**2, 0.0) if centered else square
        velocity = momentum * velocity + g / (math.sqrt(variance) + eps)
        p -= rate * velocity
    return p


class Case(NamedTuple):
    """An optimizer with settings: its kernel, its formula, its number of moments, and PyTorch's name for it."""

    name: str
    formula: Callable[..., float]
    n_moments: int
    settings: tuple[Any, ...]
    torch_name: str
    torch_settings: dict[str, Any]


def _sgd(momentum: float, nesterov: bool, decay: float) -> Case:
    torch_settings = {"lr": 0.05, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    return Case("sgd", sgd, int(momentum != 0), (0.05, momentum, nesterov, decay), "SGD", torch_settings)


def _adam(name: str, torch_name: str, decay: float) -> Case:
    torch_settings = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-7, "weight_decay": decay}
    formula = {"adam": adam, "adamw": adamw}[name]
    return Case(name, formula, 2, (0.05, 0.8, 0.95, 1e-7, decay), torch_name, torch_settings)


def _rmsprop(decay: float, momentum: float, centered: bool) -> Case:
    torch_settings = {
        "lr": 0.05, "alpha": 0.9, "eps": 1e-7, "weight_decay": decay, "momentum": momentum, "centered": centered
    }  # fmt: skip
    settings = (0.05, 0.9, 1e-7, decay, momentum, centered)
    return Case("rmsprop", rmsprop, 1 + (momentum != 0) + centered, settings, "RMSprop", torch_settings)


CASES = [
    _sgd(0.0, False, 0.0),
    _sgd(0.0, False, 0.1),
    _sgd(0.9, False, 0.1),
    _sgd(0.9, True, 0.0),
    _adam("adam", "Adam", 0.0),
    _adam("adam", "Adam", 0.1),
    _adam("adamw", "AdamW", 0.0),
    _adam("adamw", "AdamW", 0.1),
    Case("adam", adam_hat, 2, (0.05, 0.8, 0.95, 1e-2, 0.1, True), "", {}),
    _rmsprop(0.0, 0.0, False),
    _rmsprop(0.1, 0.9, False),
    _rmsprop(0.1, 0.0, True),
    _rmsprop(0.0, 0.9, True),
]
IDS = [f"{case.name}-{'-'.join(str(value) for value in case.settings[1:])}" for case in CASES]
each_case = pytest.mark.parametrize("case", CASES, ids=IDS)
of_pytorch = pytest.mark.parametrize("case", [case for case in CASES if case.torch_name])
TOLERANCE = {"float32": 2e-5, "float64": 4e-14}


def start(n: int, dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters and the gradients of each step."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n).astype(dtype), rng.normal(size=(N_STEPS, n)).astype(dtype)


def train(kernels: ModuleType, case: Case, parameters: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the moments; the parameters are updated in place."""
    moments = np.zeros((case.n_moments, parameters.size), parameters.dtype)
    for step, g in enumerate(gradients, 1):
        getattr(kernels, f"{case.name}_step")(parameters, g, moments, step, *case.settings)
    return moments


@each_case
def test_steps_follow_the_formula(kernels: ModuleType, case: Case, dtype: str) -> None:
    parameters, gradients = start(19, dtype, seed=1)
    columns = gradients.T.astype(np.float64).tolist()
    want = [case.formula(float(p), column, *case.settings) for p, column in zip(parameters, columns, strict=True)]
    train(kernels, case, parameters, gradients)
    np.testing.assert_allclose(parameters, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.peers
@of_pytorch
def test_steps_are_those_of_pytorch(kernels: ModuleType, case: Case, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra `peers`)")
    parameters, gradients = start(19, dtype, seed=2)
    theirs = torch.nn.Parameter(torch.from_numpy(parameters.copy()))
    optimizer = getattr(torch.optim, case.torch_name)([theirs], **case.torch_settings)
    for g in gradients:
        theirs.grad = torch.from_numpy(g.copy())
        optimizer.step()
    train(kernels, case, parameters, gradients)
    want = theirs.detach().numpy()
    np.testing.assert_allclose(parameters, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@each_case
def test_gradients_are_only_read(kernels: ModuleType, case: Case, dtype: str) -> None:
    parameters, gradients = start(5, dtype, seed=3)
    before = gradients.copy()
    train(kernels, case, parameters, gradients)
    np.testing.assert_array_equal(gradients, before)


@each_case
def test_nan_in_one_gradient_spoils_that_parameter_only(kernels: ModuleType, case: Case, dtype: str) -> None:
    parameters, gradients = start(5, dtype, seed=4)
    gradients[1, 2] = np.nan
    moments = train(kernels, case, parameters, gradients)
    np.testing.assert_array_equal(np.isnan(parameters), [False, False, True, False, False])
    assert np.isnan(moments[:, 2]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
@settings(max_examples=30)
@given(n=st.integers(1, 40), magnitude=st.integers(-6, 6), seed=st.integers(0, 999))
def test_cpu_agrees_with_reference_at_any_size(case: Case, dtype: str, n: int, magnitude: int, seed: int) -> None:
    ours, gradients = start(n, dtype, seed)
    gradients *= np.asarray(10.0, dtype) ** magnitude
    theirs = ours.copy()
    moments, their_moments = train(cpu, case, ours, gradients), train(reference, case, theirs, gradients)
    tolerance = 10 * TOLERANCE[dtype]
    scale = max(1.0, float(np.abs(theirs).max()))
    if not (case.name == "rmsprop" and case.settings[-1]):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)
    for a, b in zip(moments[:1], their_moments[:1], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(np.abs(b).max()))


def test_centered_rmsprop_survives_a_constant_gradient(kernels: ModuleType, dtype: str) -> None:
    parameters, moments = np.zeros(3, dtype), np.zeros((2, 3), dtype)
    gradients = np.array([0.1, 0.7, 1e-3], dtype)
    for step in range(1, 400):
        kernels.rmsprop_step(parameters, gradients, moments, step, 0.01, 0.9, 1e-8, 0.0, 0.0, True)
    assert np.isfinite(parameters).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1, 50), (40, 1)])
def test_l2_penalty_adds_its_gradient_and_returns_the_squares(
    kernels: ModuleType, shape: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng(6)
    weights, gradients = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    want = gradients + 0.3 * weights.astype(np.float64)
    squares = kernels.l2_penalty(weights, gradients, 0.3)
    assert type(squares) is float
    np.testing.assert_allclose(squares, math.fsum(float(w) ** 2 for w in weights.ravel()), rtol=1e-13)
    np.testing.assert_allclose(gradients, want, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_clip_by_norm_shrinks_to_the_limit(kernels: ModuleType, size: int, dtype: str) -> None:
    gradients = np.random.default_rng(5).normal(size=size).astype(dtype)
    before = gradients.astype(np.float64)
    norm = kernels.clip_by_norm(gradients, 0.25 * float(np.linalg.norm(before)))
    assert type(norm) is float
    np.testing.assert_allclose(norm, np.linalg.norm(before), rtol=1e-13)
    np.testing.assert_allclose(gradients, before * (0.25 * norm / (norm + 1e-6)), rtol=4 * np.finfo(dtype).eps)


def test_the_norm_may_be_left_in_a_place(kernels: ModuleType, dtype: str) -> None:
    gradients, place = np.array([3.0, -4.0], dtype), np.full(1, np.nan)
    assert kernels.clip_by_norm(gradients, 1.0, place) is None
    assert place[0] == 5.0
    np.testing.assert_allclose(gradients, [0.6, -0.8], rtol=1e-6)


def test_clip_by_norm_leaves_short_vectors_alone(kernels: ModuleType, dtype: str) -> None:
    gradients = np.array([3.0, -4.0], dtype)
    assert kernels.clip_by_norm(gradients, 5.1) == 5.0
    np.testing.assert_array_equal(gradients, [3.0, -4.0])


def test_clip_by_norm_of_zeros(kernels: ModuleType, dtype: str) -> None:
    gradients = np.zeros(3, dtype)
    assert kernels.clip_by_norm(gradients, 1.0) == 0.0
    assert not gradients.any()


@pytest.mark.parametrize("part", [2.0**-3, 2.0**-20])
def test_clip_by_norm_does_not_overflow(kernels: ModuleType, part: float, dtype: str) -> None:
    huge = float(np.finfo(dtype).max) * part
    gradients = np.array([3.0, -4.0], dtype) / 8
    gradients *= np.asarray(huge, dtype)
    norm = kernels.clip_by_norm(gradients, 1.0)
    np.testing.assert_allclose(norm, 0.625 * huge, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(gradients, [0.6, -0.8], rtol=8 * np.finfo(dtype).eps)


def test_clip_by_norm_does_not_lose_tiny_vectors(kernels: ModuleType, dtype: str) -> None:
    tiny = float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(kernels.clip_by_norm(np.array([3 * tiny, 4 * tiny], dtype), 1.0), 5 * tiny, rtol=1e-6)


def test_clip_by_norm_shows_nan(kernels: ModuleType, dtype: str) -> None:
    gradients = np.array([1.0, np.nan, 3.0], dtype)
    assert math.isnan(kernels.clip_by_norm(gradients, 1.0))
    assert np.isnan(gradients).all()


def test_clip_by_norm_shows_infinity(kernels: ModuleType, dtype: str) -> None:
    gradients = np.array([1.0, -np.inf, 3.0], dtype)
    assert kernels.clip_by_norm(gradients, 1.0) == math.inf
    np.testing.assert_array_equal(np.isnan(gradients), [False, True, False])


def test_clip_by_value(kernels: ModuleType, dtype: str) -> None:
    gradients = np.array([-np.inf, -3.0, -0.5, 0.0, 0.5, 3.0, np.inf, np.nan], dtype)
    kernels.clip_by_value(gradients, 1.5)
    np.testing.assert_array_equal(gradients, [-1.5, -1.5, -0.5, 0.0, 0.5, 1.5, 1.5, np.nan])
