"""How the CUDA kernels are compiled and launched: late, once, for each device; in any order; without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder, nvrtc
from cuda_on_cpu.fake_cupy import Machine
from kernels_on_device import cuda_kernels
from kernels_oracle import DTYPES
from tinynet_kernels import ACTIVATIONS, LOSSES, waiting

# Registers that a thread may take so that a multiprocessor (65,536 registers) holds four blocks of 256 threads.
MAX_REGISTERS = {False: 64, True: 80}
"""Most registers of a thread, in float32 and in float64, that leave room for 1,024 and for 768 threads at once."""

Arrays = list[Any]


def random(cp: ModuleType, *shape: int, dtype: str = "float32", seed: int = 0) -> Any:
    return cp.asarray(np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(dtype))


def everything(cp: ModuleType, cuda: ModuleType, dtype: str) -> Arrays:
    """Launch each kind of kernel, at sizes with several blocks where sums are made of parts; return what they wrote."""
    n, columns = 2100, 7
    x, b = random(cp, n, columns, dtype=dtype), random(cp, columns, dtype=dtype, seed=1)
    results: Arrays = []

    def new(*shape: int, of: str = dtype) -> Any:
        results.append(cp.empty(shape, of))
        return results[-1]

    for kind in ACTIVATIONS:
        z, y = new(n, columns), new(n, columns)
        cuda.multiply(x, x, z)
        cuda.activations.bias_activation(kind, z, b, y, 0.25)
        cuda.activation_backward(kind, z, y, x, new(n, columns), 0.25)
    cuda.linear.sum_rows(x, new(columns))
    index = cp.asarray(np.arange(n) % columns)
    weight = random(cp, n, dtype=dtype, seed=2)
    for kind, traits in LOSSES.items():
        target = index if traits.index_target else x
        value = new(3, of="float64")
        value.fill(7)
        cuda.loss_forward_backward(kind, x, target, weight, new(n, columns), 0.5, 0.75, value[1:2])
    gradients, parameters = new(20_000), new(20_000)
    cuda.dropout_mask(1, 2, 3, 0.5, gradients)
    cuda.dropout_mask(4, 5, 6, 0.5, parameters)
    cuda.clip_by_norm(gradients, 1.0, new(1, of="float64"))
    cuda.clip_by_value(gradients, 0.003)
    moments = new(3, 20_000)
    moments.fill(0)
    cuda.sgd_step(parameters, gradients, moments[:1], 1, 0.1, 0.9, True, 0.1)
    cuda.adam_step(parameters, gradients, moments[:2], 1, 0.1, 0.9, 0.99, 1e-8, 0.1)
    cuda.rmsprop_step(parameters, gradients, moments, 1, 0.1, 0.9, 1e-3, 0.1, 0.9, True)
    held = new(columns, of="float64")
    held.fill(2)
    cuda.normalize_forward(x, held, held, new(n, columns))
    cuda.normalize_backward(held, x, new(n, columns))
    cuda.gather_rows(x, index, new(n, columns))
    flag = new(1, of="int32")
    flag.fill(0)
    cuda.data.flag_nonfinite(x, flag)
    return results


def prepared(cp: ModuleType) -> ModuleType:
    """Return the kernels, compiled where that takes g++."""
    cuda_kernels(cp)
    from tinynet_kernels import cuda

    return cuda


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_the_order_of_threads(cp: ModuleType, machine: Machine, dtype: str) -> None:
    cuda = prepared(cp)
    runs = []
    for name, seed in builder.orders(n_random=1):
        with builder.order(name, seed):
            runs.append([array.get() for array in everything(cp, cuda, dtype)])
    for run in runs[1:]:
        for got, want in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(got, want)
    assert all(np.isfinite(array).all() for array in runs[0])


def test_a_value_is_written_to_its_slot_alone(cp: ModuleType) -> None:
    cuda = prepared(cp)
    x, values = random(cp, 300, 9), cp.full(3, 7.0)
    cuda.loss_forward_backward("mse", x, x, None, cp.empty((300, 9), "float32"), 1.0, 0.0, values[1:2])
    np.testing.assert_array_equal(values.get(), [7.0, 0.0, 7.0])


def test_nothing_waits_for_the_device(cp: ModuleType) -> None:
    # A stream that records refuses whoever waits for it. What a graph does must not depend on scratch that is gone.
    from tinynet_kernels.cuda.scratch import held_scratch

    cuda = prepared(cp)
    want = [array.get() for array in everything(cp, cuda, "float32")]
    x = random(cp, 2100, 7)
    target = random(cp, 2100, 7, seed=1)
    gradient, value, norm = cp.empty((2100, 7), "float32"), cp.empty(1, "float64"), cp.empty(1, "float64")
    sums = cp.empty(7, "float32")

    def work() -> None:
        cuda.loss_forward_backward("mse", x, target, None, gradient, 1.0, 0.0, value)
        cuda.linear.sum_rows(gradient, sums)
        cuda.clip_by_norm(gradient.ravel(), 0.01, norm)

    work()
    expected = [array.get() for array in (value, sums, norm, gradient)]
    stream = cp.cuda.Stream(non_blocking=True)
    cp.cuda.Stream.null.synchronize()
    with stream, held_scratch() as held:
        stream.begin_capture()
        work()
        graph = stream.end_capture()
        for array in (gradient, value, norm, sums):
            array.fill(0)
        graph.launch()
        stream.synchronize()
    assert held
    for got, array in zip((value, sums, norm, gradient), expected, strict=True):
        np.testing.assert_array_equal(got.get(), array)
    again = [array.get() for array in everything(cp, cuda, "float32")]
    for got, array in zip(again, want, strict=True):
        np.testing.assert_array_equal(got, array)


def test_two_streams_do_not_share_scratch(cp: ModuleType) -> None:
    cuda = prepared(cp)
    streams = [cp.cuda.Stream(non_blocking=True) for _ in range(2)]
    inputs = [random(cp, 40_000, 3, seed=seed) for seed in range(2)]
    outputs = [cp.empty(3, "float32") for _ in range(2)]
    cp.cuda.Stream.null.synchronize()
    for _ in range(3):
        for stream, x, out in zip(streams, inputs, outputs, strict=True):
            with stream:
                cuda.linear.sum_rows(x, out)
    for stream, x, out in zip(streams, inputs, outputs, strict=True):
        stream.synchronize()
        np.testing.assert_allclose(out.get(), x.get().astype(np.float64).sum(0), rtol=1e-5)


def test_products_copy_nothing(cp: ModuleType, machine: Machine) -> None:
    cuda = prepared(cp)
    x, w, dy = random(cp, 33, 5), random(cp, 5, 4), random(cp, 33, 4)
    flat = cp.empty(5 * 4 + 4, "float32")
    machine.statistics.clear()
    cuda.linear_forward(x, w, dy[0], cp.empty((33, 4), "float32"))
    cuda.linear_backward(x, w, dy, flat[:20].reshape(5, 4), flat[20:], cp.empty((33, 5), "float32"))
    machine.finish()
    assert not machine.statistics


def test_importing_compiles_nothing_and_a_call_what_it_needs(cp: ModuleType) -> None:
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda import loading

    assert loading.compiled() == frozenset()
    z = random(cp, 8, 4)
    cuda.activation_forward("relu", z, z)
    assert [i.expression for i in loading.compiled()] == [
        "tinynet::activation_forward<float, tinynet::activation::relu, 4>"
    ]


def test_who_waits_for_the_compiler_is_told_before_it_begins(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet_kernels.cuda import loading
    from tinynet_kernels.cuda.fused import build
    from tinynet_kernels.cuda.fused.prelude import Prelude

    events: list[str] = []

    class Module:
        def __init__(self, **arguments: Any) -> None:
            pass

        def get_function(self, expression: str) -> str:
            events.append(expression)
            return expression

    monkeypatch.setattr(cp, "RawModule", Module)
    for module in (loading, build):
        monkeypatch.setattr(module, "_KERNELS", {})
    made = Prelude("", 0, 0, 0, 0, 0, 0, 1.0, ())
    for _ in range(2):
        with waiting.watched(events.append) as watch:
            loading.kernel("reductions.cu", "total")
            build.kernel("predict.cu", "predict", made)
        events.append(f"waited: {watch.seconds > 0}")
    compiled = [waiting.FOR_GPU, "tinynet::total", "tinynet::predict", "waited: True"]
    assert events == [*compiled, "waited: False"]


def test_threads_that_need_a_kernel_at_once_compile_it_once(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet_kernels.cuda import loading

    made: list[Any] = []
    raw_module: Callable[..., Any] = cp.RawModule

    def counting(**arguments: Any) -> Any:
        made.append(arguments)
        return raw_module(**arguments)

    monkeypatch.setattr(cp, "RawModule", counting)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(loading.kernel("reductions.cu", "total"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(found) == 4
    assert all(kernel is found[0] for kernel in found)


def test_each_device_has_kernels_of_its_own(cp: ModuleType, machine: Machine) -> None:
    from tinynet_kernels.cuda import loading

    machine.set_devices(2)
    first = loading.kernel("reductions.cu", "total")
    with cp.cuda.Device(1):
        assert loading.kernel("reductions.cu", "total") is not first
    assert loading.kernel("reductions.cu", "total") is first


def test_an_error_of_compilation_shows_the_compilers_words(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet_kernels.cuda import loading

    broken = loading.source("reductions.cu").replace("double sum = 0;", "double sum = nought;")
    monkeypatch.setattr(loading, "source", lambda file, user: broken)
    with pytest.raises(RuntimeError, match=r"reductions\.cu should compile(.|\n)*nought"):
        loading.kernel("reductions.cu", "total")
    assert loading.compiled() == frozenset()


def test_sources_hold_what_they_include_once_and_keep_their_line_numbers(cp: ModuleType) -> None:
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda.sources import source

    text = source("losses.cu")
    assert text.count("struct Lanes {") == text.count("using Index =") == 1
    assert "#include" not in text
    lines = text.splitlines()
    marker = max(i for i, line in enumerate(lines) if line.endswith('"losses.cu"'))
    original = (Path(cuda.__file__).parent / "losses.cu").read_text().splitlines()
    first = int(lines[marker].split()[1])
    assert lines[marker + 1 :] == original[first - 1 :]


def test_every_kernel_that_is_launched_is_listed(cp: ModuleType) -> None:
    # What is listed is compiled below.
    cuda = prepared(cp)
    for dtype in DTYPES:
        everything(cp, cuda, dtype)
    assert cuda.loading.compiled() <= set(cuda.instances())


@pytest.mark.parametrize("architecture", nvrtc.ENDS)
def test_every_kernel_compiles_without_spills(cp: ModuleType, machine: Machine, architecture: int) -> None:
    reason = nvrtc.missing()
    if reason or architecture not in nvrtc.supported():
        pytest.skip(reason or f"this NVRTC does not know sm_{architecture}")
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda import loading

    files: dict[str, list[str]] = {}
    for instance in cuda.instances():
        files.setdefault(instance.file, []).append(instance.expression)
    for file, expressions in files.items():
        compiled = nvrtc.compile_source(loading.source(file), expressions, loading.OPTIONS, architecture=architecture)
        for expression in expressions:
            usage = compiled.usage[expression]
            assert usage.spill_bytes == 0, expression
            assert usage.registers <= MAX_REGISTERS["<double" in expression], expression


def test_grids_are_legal_at_any_size(cp: ModuleType) -> None:
    from tinynet_kernels.cuda import grids

    for n in (0, 1, 255, 257, 10**6, 2**40):
        for m in (0, 1, 3, 33, 1000, 2**33):
            (rows, lanes), (summed, summed_lanes) = grids.over_rows(n, m), grids.over_summed_rows(n, m)
            shapes = [grids.over_matrix(n, m), grids.over_summed_matrix(n, m), grids.over_columns(n, m), rows, summed]
            for blocks, threads in [*shapes, grids.over_vector(n), grids.over_summed_vector(n)]:
                assert all(1 <= size <= 65_535 for size in (*blocks, *threads))
                assert np.prod(threads) == grids.THREADS
            assert lanes == summed_lanes
            assert lanes in (1, 2, 4, 8, 16, 32)


def test_small_work_gets_one_block(cp: ModuleType) -> None:
    from tinynet_kernels.cuda import grids

    for grid in [
        grids.over_vector(200),
        grids.over_matrix(20, 10),
        grids.over_summed_matrix(256, 10),
        grids.over_summed_rows(128, 10)[0],
        grids.over_columns(256, 32),
    ]:
        assert np.prod(grid[0]) <= 2
