"""CUDA sources by way of NVIDIA's compiler: what it makes of them does what they do."""

from __future__ import annotations

import pytest
from cuda_on_cpu import nvrtc, ptx, toolchain

pytestmark = pytest.mark.skipif(
    bool(toolchain.missing() or nvrtc.missing()), reason=str(toolchain.missing() or nvrtc.missing())
)


@pytest.mark.parametrize("name", ["softmax", "reductions", "graph"])
def test_instructions_do_what_the_source_does(name: str) -> None:
    assert ptx.main([name]) == 0


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(ptx.FLOATS, "div.rn", "{0} / {1} * 1.0001f")
    monkeypatch.setattr(ptx, "build", ptx.PtxModule)  # Not what was built before.
    assert ptx.main(["softmax"]) == 1
    assert "differs by" in capsys.readouterr().out


def test_blocks_have_registers_of_their_own() -> None:
    block = "{ \n.reg .pred \t%p1; \nsetp.ne.u32 %p1, %r1, 0; \nselp.u32 %r2, 1, 0, %p1; \n}\nand.pred %p2, %p1, %p3;"
    text = ".reg .pred %p<4>;\n.reg .b32 %r<3>;\n" + block
    body = ptx._Body(text, ())
    assert sum("p1_of_" in line for line in body.lines) == 2
    assert "p1_of_" not in body.lines[-1]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ptx.UnknownInstructionError, match=r"tanh\.approx\.f32"):
        ptx._Body(".reg .f32 %f<3>;\ntanh.approx.f32 %f1, %f2;", ())
    with pytest.raises(ptx.UnknownInstructionError, match=r"\.local"):
        ptx._Body(".reg .f32 %f<3>;\n.reg .b64 %rd<2>;\nld.local.f32 %f1, [%rd1];", ())
