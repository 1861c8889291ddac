"""Every kernel is written for processors of all kinds, calls nothing outside, and keeps its sums in registers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from tinynet_kernels.cpu.generated import units
from tinynet_kernels.cpu.generated.compiler import machine
from tinynet_kernels.cpu.generated.many.small import Options
from tinynet_kernels.cpu.generated.small import Small
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.formulas import ACTIVATIONS
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Layer
from tinynet_kernels.reference.curvature import CURVED

llvm = pytest.importorskip("llvmlite.binding")

LINUX, MAC, ARM = "x86_64-unknown-linux-gnu", "arm64-apple-macosx", "aarch64-unknown-linux-gnu"
PROCESSORS = {
    "x86-64-v2": (LINUX, "+sse4.2"),
    "x86-64-v3": (LINUX, "+avx2,+fma,+avx"),
    "x86-64-v4": (LINUX, "+avx2,+fma,+avx,+avx512f,+avx512vl,+avx512dq,+avx512bw"),
    "neoverse-n1": (ARM, ""),
    "apple-m1": (MAC, ""),
}
LAYERS = (Layer("linear", 4, 5, True, "sigmoid"), Layer("linear", 5, 3, False, "tanh"))
SMALL = Small(LAYERS, "mse", 0.0, "<f4", "<f8", "<f4", 10)
EVERYTHING = Options(own_order=True, own_weight=True, mean=True, descent=False, clip_value=True, clip_norm=True)
DESCENT = Options(own_order=False, own_weight=False, mean=False, descent=True, clip_value=False, clip_norm=False)
UNITS = [
    "core",
    "team",
    "products",
    "large",
    "few",
    "dropout",
    "normalize",
    "layer_norm",
    "batch_norm",
    "skip",
    "projection",
    "updates",
    "activation:softmax",
    *(f"activation:{kind}" for kind in ACTIVATIONS),
    *(f"loss:{kind}" for kind in LOSSES),
    *(f"gather:{code}" for code in ("<f4", ">f8", "<f2", "<u8", "|b1")),
    "labels:<i4",
    "abreast",
    "abreast:tanh",
    "abreast:gelu",
    "tangents",
    "tangents:silu",
    "curvature_of:silu",
    *(f"curvature:{kind}" for kind in sorted(CURVED)),
    *(f"step:{step}" for step in ("sgd", "sgd:momentum:nesterov", "adam:decay", "adamw:decay", "rmsprop:centered")),
    *("many", "many_products", "many_dropout", "many_normalize", "many_updates", "wide:many"),
    *(f"many_activation:{kind}" for kind in ("tanh", "gelu", "softmax")),
    *(f"many_loss:{kind}" for kind in ("huber", "cross_entropy", "cross_entropy_probabilities_index")),
    *(f"many_gather:{kind}" for kind in ("shared:<f4", "own:>f8", "shared_labels:|u1", "own_labels:>i4")),
    *(f"many_step:{step}" for step in ("sgd", "adamw:decay", "rmsprop:centered")),
    f"many_unrolled:{EVERYTHING.text()}:{SMALL._replace(batch=3, step=('adam',)).text()}",
    f"wide:many_unrolled:{DESCENT.text()}:{SMALL._replace(batch=1, step=('sgd',)).text()}",
    f"samples:{SMALL.text()}",
    f"registers:{SMALL._replace(batch=1, step=('sgd',)).text()}",
    f"registers:{SMALL._replace(batch=1, step=('adam',), loss='cross_entropy').text()}",
]


@cache
def initialized() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def target_of(processor: str) -> Target:
    initialized()
    triple, features = PROCESSORS[processor]
    return Target.of(triple, processor, features)


def parsed(text: str, target: Target) -> Any:
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.verify()
    return module


def assembly(unit: str, dtype: str, processor: str) -> str:
    target = target_of(processor)
    return str(machine(target).emit_assembly(parsed(units.text_of(unit, dtype, target), target)))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_unit_assembles_and_calls_nothing_outside(processor: str) -> None:
    for number, unit in enumerate(UNITS):
        text = assembly(unit, ("float32", "float64")[number % 2], processor)
        calls = re.findall(r"^[ \t]*(?:callq?|bl|b|jmp)[ \t]+([A-Za-z_][\w@.$]*)", text, re.MULTILINE)
        own = set(re.findall(r"^([A-Za-z_.][\w@.$]*):", text, re.MULTILINE))
        outside = [name for name in calls if name not in own and not name.lstrip("_").startswith("LBB")]
        assert not outside, f"{unit} calls {outside}"


def test_an_object_file_is_made_for_another_processor() -> None:
    target = target_of("neoverse-n1")
    assert machine(target).emit_object(parsed(units.text_of("core", "float32", target), target)).startswith(b"\x7fELF")


ON_STACK = {
    "x86": r"\bv?(?:movup|movap|fmadd|add|mul)\w*\s.*\((?:%rsp|%rbp)\)",
    "arm": r"\b(?:st|ld)(?:r\s+q|p\s+q).*\[sp",
}
"""A vector that goes to the stack or comes from there."""

PRODUCT = r"v?fmadd\w*p[sd]|fmla|\bmulp[sd]"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_sums_of_a_tile_stay_in_registers(processor: str, dtype: str) -> None:
    written = {"products": ("product_rows", "gradient"), "large": ("product_added",), "few": ("few_rows",)}
    for unit, names in written.items():
        text = assembly(unit, dtype, processor)
        for name in names:
            symbol = re.escape(units.symbol(unit, name, dtype))
            (body,) = re.findall(rf"^_?{symbol}:.*?(?=^_?tinynet_\w+:|\Z)", text, re.MULTILINE | re.DOTALL)
            blocks = re.split(r"^\.?L\w+:", body, flags=re.MULTILINE)
            products = [block for block in blocks if len(re.findall(PRODUCT, block)) >= 8]
            assert products
            on_stack = ON_STACK["x86" if processor.startswith("x86") else "arm"]
            assert not [block for block in products if re.findall(on_stack, block)], f"{name} spills"
