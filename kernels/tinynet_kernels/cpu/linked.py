"""Formulas and elementary functions in what Numba compiles: the instructions that the generated code has, linked in.

Numba compiles ``math.exp`` to a call of the C library for one number at a time. These functions are the branch-free
instructions of ``tinynet_kernels.cpu.generated`` instead, which LLVM inlines into the loop around them and turns into
SIMD code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from tinynet_kernels import formulas
from tinynet_kernels.cpu.compiling import Kernel, instruction
from tinynet_kernels.cpu.generated.compiler import host, in_llvm
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.ir import Code, Module, Value
from tinynet_kernels.updates import NUMBERS, n_moments, terms_of

Body = Callable[[Code, Sequence[Value]], Sequence[Value]]
"""Writes the instructions of a function from its arguments; returns its results."""

MOST_MOMENTS = 3
"""What any optimizer remembers of a parameter."""

_REAL = {types.float32: "float", types.float64: "double"}


def function(name: str, body: Callable[[Value], Value]) -> Kernel:
    """Make a function of one number callable from compiled code."""

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        return [body(arguments[0])]

    @instruction
    def linked(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (result,) = _call(context, builder, x, name, written, signature.args, arguments)
            return result

        return x(x), generate

    return linked


@instruction
def activation(typing_context: Any, kind: Any, z: Any, alpha: Any) -> Any:
    """Return ``f(z)`` of an activation, whose kind is a constant of the code that is compiled."""
    if not isinstance(kind, types.StringLiteral):
        return None  # Numba asks again, with constants.

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        value, _ = formulas.ACTIVATIONS[_text(kind)].terms
        return [Writer(code, dict(zip(("z", "alpha"), arguments, strict=True)))(value)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"value {_text(kind)}"
        (result,) = _call(context, builder, z, name, written, signature.args[1:], arguments[1:])
        return result

    return z(kind, z, alpha), generate


@instruction
def activation_slope(typing_context: Any, kind: Any, z: Any, y: Any, alpha: Any) -> Any:
    """Return ``f'(z)`` of an activation, from ``z`` and ``y = f(z)``."""
    if not isinstance(kind, types.StringLiteral):
        return None  # Numba asks again, with constants.

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        _, slope = formulas.ACTIVATIONS[_text(kind)].terms
        return [Writer(code, dict(zip(("z", "y", "alpha"), arguments, strict=True)))(slope)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"slope {_text(kind)}"
        (result,) = _call(context, builder, y, name, written, signature.args[1:], arguments[1:])
        return result

    return y(kind, z, y, alpha), generate


@instruction
def activation_second(typing_context: Any, kind: Any, z: Any, y: Any, alpha: Any) -> Any:
    """Return ``f''(z)`` of an activation, from ``z`` and ``y = f(z)``."""
    if not isinstance(kind, types.StringLiteral):
        return None  # Numba asks again, with constants.

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        symbols = dict(zip(("z", "y", "alpha"), arguments, strict=True))
        return [Writer(code, symbols)(formulas.ACTIVATIONS[_text(kind)].curvature)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"second {_text(kind)}"
        (result,) = _call(context, builder, y, name, written, signature.args[1:], arguments[1:])
        return result

    return y(kind, z, y, alpha), generate


@instruction
def loss(typing_context: Any, kind: Any, p: Any, t: Any, parameter: Any) -> Any:
    """Return the value of a loss and its slope by the prediction ``p``."""
    if not isinstance(kind, types.StringLiteral):
        return None  # Numba asks again, with constants.

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        write = Writer(code, dict(zip(("p", "t", "parameter"), arguments, strict=True)))
        return [write(term) for term in formulas.LOSSES[_text(kind)].terms]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        results = _call(context, builder, p, f"loss {_text(kind)}", written, signature.args[1:], arguments[1:])
        return context.make_tuple(builder, signature.return_type, results)

    return types.UniTuple(p, 2)(kind, p, t, parameter), generate


@instruction
def update(typing_context: Any, step: Any, p: Any, g: Any, m0: Any, m1: Any, m2: Any, numbers: Any) -> Any:
    """Return a parameter and its moments after a step of an optimizer.

    ``step`` is its kind and its flags, as ``"sgd momentum"``, and ``numbers`` a tuple in the order of ``NUMBERS``.
    Moments that the optimizer does not have stay as they are.
    """
    if not isinstance(step, types.StringLiteral):
        return None
    count = len(numbers)

    def written(code: Code, arguments: Sequence[Value]) -> list[Value]:
        optimizer, *on = _text(step).split()
        own = arguments[: 2 + n_moments(optimizer, tuple(on))]
        symbols = dict(zip(("p", "g", "m0", "m1", "m2"), own, strict=False))
        symbols |= dict(zip(NUMBERS[optimizer], arguments[2 + MOST_MOMENTS :], strict=True))
        write = Writer(code, symbols)
        new = [write(term) for term in terms_of(optimizer, on)]
        return [*new, *arguments[1 + len(new) : 2 + MOST_MOMENTS]]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *own, packed = arguments[1:]
        kinds = [*signature.args[1:-1], *signature.args[-1]]
        values = [*own, *(builder.extract_value(packed, i) for i in range(count))]
        results = _call(context, builder, p, f"update {_text(step)}", written, kinds, values)
        return context.make_tuple(builder, signature.return_type, results)

    return types.UniTuple(p, 1 + MOST_MOMENTS)(step, p, g, m0, m1, m2, numbers), generate


def _text(kind: Any) -> str:
    return str(kind.literal_value)


def _call(context: Any, builder: Any, like: Any, name: str, body: Body, kinds: Any, values: Any) -> list[Any]:
    """Call a function of arguments of the type of one of them; return its results."""
    real = context.get_value_type(like)
    arguments = [context.cast(builder, value, kind, like) for kind, value in zip(kinds, values, strict=True)]
    made = _Linked(name, body, _REAL[like], len(arguments))
    context.active_code_library.add_linking_library(made.library(context.codegen()))
    result = ir.LiteralStructType([real] * made.n_results)
    called = ir.FunctionType(result, [value.type for value in arguments])
    declared = builder.module.globals.get(made.symbol) or ir.Function(builder.module, called, made.symbol)
    returned = builder.call(declared, arguments)
    return [builder.extract_value(returned, i) for i in range(made.n_results)]


class _Linked:
    """A function as LLVM reads it, for numbers of one type."""

    def __init__(self, name: str, body: Body, kind: str, n_arguments: int) -> None:
        module = Module(host(), {"float": "float32", "double": "float64"}[kind])
        code = Code(module)
        arguments = [Value(code, kind, f"%a{i}") for i in range(n_arguments)]
        results = list(body(code, arguments))
        struct = "{ " + ", ".join([kind] * len(results)) + " }"
        packed = f"{struct} poison"
        for i, result in enumerate(results):
            code.emit(f"%r{i} = insertvalue {packed}, {result}, {i}")
            packed = f"{struct} %r{i}"
        code.emit(f"ret {packed}")
        self.n_results = len(results)
        head = f"({', '.join(map(str, arguments))}) alwaysinline nounwind"
        lines = "\n".join(code.lines)
        digest = hashlib.sha256(f"{name} {kind} {lines}".encode()).hexdigest()[:16]
        self.symbol = f"tinynet_linked_{digest}"
        declarations = "\n".join(sorted(module.declared))
        self.text = f"{declarations}\ndefine {struct} @{self.symbol}{head} {{\n{lines}\n}}\n"

    def library(self, codegen: Any) -> Any:
        """Return it as what Numba links in."""
        return _library(codegen, self.symbol, self.text)


@cache
def _library(codegen: Any, symbol: str, text: str) -> Any:
    with in_llvm():
        module = llvm.parse_assembly(text)
        module.verify()
    module.triple, module.data_layout = llvm.get_process_triple(), str(codegen.target_data)
    made = codegen.create_library(symbol)
    made.add_llvm_module(module)
    made.finalize()
    return made
