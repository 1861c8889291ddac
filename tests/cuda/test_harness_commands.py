"""NVRTC, deleted barriers and ThreadSanitizer: what they say about sources whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cuda_on_cpu import cases, mutate, nvrtc, races, toolchain

needs_compiler = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))
needs_races = pytest.mark.skipif(races.missing() is not None, reason=str(races.missing()))
needs_nvrtc = pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))

DEMO = cases.selected(["demo"])
LINES = cases.DEMO.code.splitlines()


def place(text: str, further: int = 0) -> str:
    """Return where the demonstration's line is that holds ``text``, or one some lines further down."""
    number = next(number for number, content in enumerate(LINES, 1) if text in content)
    return f"kernel.cu:{number + further}"


# Barriers.


def test_each_barrier_is_deleted_once_and_nothing_else() -> None:
    found = list(mutate.mutants(cases.DEMO))
    assert len(found) == cases.DEMO.code.count("__sync")
    for mutant in found:
        lines = mutant.source.code.splitlines()
        changed = [number for number, pair in enumerate(zip(lines, LINES, strict=True), 1) if pair[0] != pair[1]]
        assert [f"kernel.cu:{number}" for number in changed] == [mutant.place]
        assert mutant.text in LINES[changed[0] - 1]


def test_barriers_in_comments_are_none() -> None:
    source = replace(cases.DEMO, code="// __syncthreads();\n/* __syncwarp(); */ __syncwarp(3u);\n__syncthreads_or(1);")
    assert [mutant.text for mutant in mutate.mutants(source)] == ["__syncwarp(3u);"]


def test_a_barrier_with_a_name_of_its_own_is_deleted_where_it_is_called() -> None:
    source = replace(cases.DEMO, code="void sync() { __syncthreads(); }\nTeam::sync();\nTeam::sync();")
    assert [mutant.place for mutant in mutate.mutants(source)] == ["kernel.cu:2", "kernel.cu:3"]


def test_barriers_of_included_files_are_named_by_their_places() -> None:
    code = 'a;\n#line 1 "a.cuh"\nb;\n__syncthreads();\n#line 8 "b.cu"\n__syncwarp();\n# line 20\n__syncwarp();'
    source = replace(cases.DEMO, code=code)
    assert [mutant.place for mutant in mutate.mutants(source)] == ["a.cuh:2", "b.cu:8", "b.cu:20"]


@needs_compiler
def test_the_orders_notice_every_barrier_but_the_one_that_is_not_needed() -> None:
    verdicts = list(mutate.survey(cases.DEMO, DEMO, with_races=False))
    assert [verdict.mutant.place for verdict in verdicts if not verdict.noticed] == [place("Not needed")]
    noticed = {verdict.mutant.place: verdict.noticed for verdict in verdicts}
    assert "not finite" in noticed[place("partial[warp] = sum", 1)]


@needs_compiler
def test_a_source_whose_results_depend_on_the_order_has_no_mutants() -> None:
    broken = next(mutant.source for mutant in mutate.mutants(cases.DEMO))
    with pytest.raises(ValueError, match="depend on the order"):
        next(iter(mutate.survey(broken, DEMO, with_races=False)))


@needs_races
def test_the_demonstration_has_no_race() -> None:
    assert races.find(cases.DEMO, ["demo"]) == []


@needs_races
def test_a_race_is_found_with_its_lines() -> None:
    text = "values[threadIdx.x] - values[threadIdx.x - 1]"
    mutant = next(mutant for mutant in mutate.mutants(cases.DEMO) if mutant.place == place(text, -1))
    found = races.find(mutant.source, ["demo.differences"])
    assert {race.kind for race in found} == {"data race"}
    assert {place(text), place("values[threadIdx.x] = x[i]")} <= {where for race in found for where in race.places}


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names must be sources or cases: demo.sums.*got nothing"):
        cases.selected(["nothing"])


@needs_compiler
def test_the_commands_say_what_they_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate.main(["--no-races", "demo"]) == 1
    said = capsys.readouterr().out
    assert f"{place('Not needed')}, __syncthreads();: NOT NOTICED" in said
    assert "1 mutants were not noticed" in said


# NVRTC.

SPILLS = """
template <typename T, int N> __global__ void spills(const T* x, T* y, int rounds) {
    T a[N];
    for (int i = 0; i < N; ++i) a[i] = x[i];
    for (int j = 0; j < rounds; ++j)
        for (int i = 0; i < N; ++i) a[i] = a[(i * 7 + j) % N] * 2;
    for (int i = 0; i < N; ++i) y[i] = a[i];
}
"""


@needs_nvrtc
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_the_demonstration_compiles_for_every_gpu(architecture: int) -> None:
    if architecture not in nvrtc.supported():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    compiled = nvrtc.compile_source(cases.DEMO.code, cases.DEMO.name_expressions, architecture=architecture)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert set(compiled.usage) == set(cases.DEMO.name_expressions)
    assert {name: usage.shared_bytes for name, usage in compiled.usage.items()} == {
        "block_sums<float>": 32 * 4,
        "differences<double>": 0,
        "warp_reverse<int>": 32 * 4,
    }
    assert all(usage.spill_bytes == 0 and 0 < usage.registers <= 64 for usage in compiled.usage.values())


@needs_nvrtc
def test_spills_are_told() -> None:
    code = SPILLS + 'extern "C" __global__ void plain(float* y) { *y = 1; }'
    compiled = nvrtc.compile_source(code, ["spills<double, 300>"], ["-std=c++17"])
    assert compiled.usage["spills<double, 300>"].spill_bytes > 1000
    assert compiled.usage["spills<double, 300>"].stack_bytes >= 300 * 8
    assert compiled.usage["plain"].spill_bytes == 0


@needs_nvrtc
def test_a_source_that_does_not_compile_for_a_gpu_is_an_error_with_the_log() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"undeclared_thing"):
        nvrtc.compile_source('extern "C" __global__ void k() { undeclared_thing(); }')


def test_the_log_of_a_function_that_is_called_is_not_the_kernels() -> None:
    log = """
ptxas warning : Registers are spilled to local memory in function 'kernel', 8 bytes spill stores, 16 bytes spill loads
ptxas info    : 0 bytes gmem, 128 bytes cmem[3]
ptxas info    : Compiling entry function 'kernel' for 'sm_90'
ptxas info    : Function properties for kernel
ptxas         .     32 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
ptxas info    : Function properties for called
ptxas         .     400 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 432 bytes cumulative stack size, 1024+0 bytes smem
ptxas info    : Compile time = 1.0 ms
"""
    assert nvrtc.parse_log(log) == {"kernel": nvrtc.Usage(40, 32, 24, 1024)}
