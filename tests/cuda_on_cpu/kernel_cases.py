"""Launches that between them pass through every barrier and shuffle of the project's kernels.

Sizes leave the last warps ragged, and make blocks go round their loops more than once.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tinynet_kernels
from numpy.typing import NDArray

from .builder import Module
from .cases import Source, case

Arrays = list[NDArray[Any]]


def source_text(file: str) -> str:
    """Return a source of the package with its includes, without the package itself, which imports CuPy."""
    path = Path(tinynet_kernels.__file__).parent / "cuda" / "sources.py"
    spec = importlib.util.spec_from_file_location("cuda_sources", path)
    assert spec is not None
    assert spec.loader is not None
    sources = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sources)
    text: str = sources.source(file)
    return text


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SOFTMAX = Source(
    "softmax", source_text("softmax.cu"), ("tinynet::softmax_forward<float>", "tinynet::softmax_backward<float>")
)


@case(SOFTMAX)
def ragged_rows(module: Module) -> Arrays:
    results: Arrays = []
    for rows, columns, lanes in [(37, 7, 2), (9, 300, 32)]:
        z, dy = normal(rows, columns), normal(rows, columns, seed=1)
        y, dz = np.full_like(z, np.nan), np.full_like(z, np.nan)
        sizes = (np.int64(rows), np.int64(columns), np.int32(lanes))
        module.get_function("tinynet::softmax_forward<float>")((2,), (64,), (z, y, *sizes))
        module.get_function("tinynet::softmax_backward<float>")((2,), (64,), (y, dy, dz, *sizes))
        results += [y, dz]
    return results


LOSSES = Source(
    "losses",
    source_text("losses.cu"),
    (
        "tinynet::elementwise_loss<float, tinynet::loss::mse, true>",
        "tinynet::row_loss<float, tinynet::loss::cross_entropy, true>",
        "tinynet::row_loss<float, tinynet::loss::cross_entropy_index, false>",
        "tinynet::row_loss<float, tinynet::loss::cross_entropy_probabilities_index, false>",
    ),
)


@case(LOSSES)
def elements(module: Module) -> Arrays:
    p, t, weight = normal(37, 70), normal(37, 70, seed=1), normal(37, seed=2)
    d, sums = np.full_like(p, np.nan), np.full(6, np.nan)
    sizes = (np.int64(37), np.int64(70), np.int64(0), np.int64(0))
    settings = (*sizes, np.float32(0.5), np.float32(0), np.bool_(False), sums, np.float64(1))
    kernel = module.get_function(LOSSES.name_expressions[0])
    kernel((2, 3), (32, 4), (p, t, weight, d, *settings, sums))
    return [d, sums]


@case(LOSSES)
def elements_of_models(module: Module) -> Arrays:
    p, t, weight = normal(2, 37, 70), normal(37, 70, seed=1), normal(2, 37, seed=2)
    d, sums = np.full_like(p, np.nan), np.full(12, np.nan)
    sizes = (np.int64(37), np.int64(70), np.int64(0), np.int64(37))
    settings = (*sizes, np.float32(0.5), np.float32(0), np.bool_(True), np.array([0.5, 1.0]), np.float64(1))
    kernel = module.get_function(LOSSES.name_expressions[0])
    kernel((2, 3, 2), (32, 4), (p, t, weight, d, *settings, sums))
    return [d, sums]


@case(LOSSES)
def rows(module: Module) -> Arrays:
    results: Arrays = []
    index = np.random.default_rng(3).integers(0, 7, 37)
    for name, target, t_columns in [
        (LOSSES.name_expressions[1], normal(37, 7, seed=1), 7),
        (LOSSES.name_expressions[2], index, 1),
        (LOSSES.name_expressions[3], index, 1),
    ]:
        p, weight = np.abs(normal(37, 7)), normal(37, seed=2)
        d, sums = np.full_like(p, np.nan), np.full(2, np.nan)
        sizes = (np.int64(37), np.int64(7), np.int64(t_columns), np.int64(0), np.int64(0))
        settings = (*sizes, np.int32(2), np.float32(0.5), np.float64(1))
        module.get_function(name)((2,), (64,), (p, target, weight, d, *settings, sums))
        results += [d, sums]
    return results


REDUCTIONS = Source("reductions", source_text("reductions.cu"), ("tinynet::column_sums<float>", "tinynet::total"))


@case(REDUCTIONS)
def columns(module: Module) -> Arrays:
    x, out = normal(130, 70), np.full((2, 70), np.nan, np.float32)
    sizes = (np.int64(130), np.int64(70), np.int64(0))
    # Fewer blocks than the columns need, so that each goes round.
    module.get_function("tinynet::column_sums<float>")((2, 2), (16, 8), (x, out, *sizes))
    return [out]


@case(REDUCTIONS)
def columns_of_models(module: Module) -> Arrays:
    x, out = normal(3, 130, 70), np.full((3, 100), np.nan, np.float32)
    sizes = (np.int64(130), np.int64(70), np.int64(100))
    module.get_function("tinynet::column_sums<float>")((2, 1, 3), (16, 8), (x, out, *sizes))
    return [out[:, :70]]


@case(REDUCTIONS)
def sums_of_blocks(module: Module) -> Arrays:
    out = np.full(1, np.nan)
    sums = np.random.default_rng(0).normal(size=300)
    module.get_function("tinynet::total")((1,), (128,), (sums, np.int64(300), np.float64(0.5), out))
    return [out]


NORMS = Source("optimizers", source_text("optimizers.cu"), ("tinynet::squared_norms<double>", "tinynet::norm_of_sums"))


@case(NORMS)
def norm(module: Module) -> Arrays:
    values = np.random.default_rng(0).normal(size=1000)
    sums, result = np.full((3, 3), np.nan), np.full(1, np.nan)
    module.get_function("tinynet::squared_norms<double>")((3,), (128,), (values, np.int64(1000), sums))
    module.get_function("tinynet::norm_of_sums")((1,), (64,), (sums, np.int64(3), result))
    return [sums, result]


@case(NORMS)
def norms_of_models(module: Module) -> Arrays:
    values = np.random.default_rng(0).normal(size=(2, 500))
    sums, result = np.full((2, 3, 3), np.nan), np.full(2, np.nan)
    module.get_function("tinynet::squared_norms<double>")((3, 1, 2), (128,), (values, np.int64(500), sums))
    module.get_function("tinynet::norm_of_sums")((1, 1, 2), (64,), (sums, np.int64(3), result))
    return [sums, result]
