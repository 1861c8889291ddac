"""The CUDA C++ of formulas: headers that are written when a source includes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of, is_blocks, names_of
from tinynet_kernels.c_like import Language, statements
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.updates import NUMBERS, terms_of


def _literal(number: float) -> str:
    return f"T({int(number) if number == int(number) and abs(number) < 1e6 else repr(number)})"


# A struct may have the name of a function: ::tanh is the function.
CUDA = Language("T", _literal, lambda name: f"::{name}", "bool")

_HEAD = "template <typename T>\n{}__device__ __forceinline__ {}({}) {{"


def _function(head: str, result: str, arguments: str, body: Iterable[str]) -> list[str]:
    return [*_HEAD.format(head, result, arguments).splitlines(), *(f"    {line}" for line in body), "}"]


def _struct(name: str, members: Iterable[str]) -> list[str]:
    return [f"struct {name} {{", *(f"    {line}" for line in members), "};", ""]


def _namespace(name: str, lines: Iterable[str]) -> str:
    return "\n".join(["namespace tinynet {", f"namespace {name} {{", "", *lines, "}", "}"])


def _activations(texts: Iterable[str]) -> str:
    """Return a struct for each activation, ``activation::tanh``, with functions for what ``Activation`` names."""

    def structs() -> Iterator[str]:
        for kind in (*formulas.ACTIVATIONS, *texts):
            value, derivative = formulas.ACTIVATIONS[kind].terms
            reads_z = str(ACTIVATIONS[kind].reads_z).lower()
            lines, results = statements(CUDA, [value], {"z": "z", "alpha": "alpha"})
            members = [f"static constexpr bool reads_z = {reads_z};"]
            members += _function("static ", "T value", "T z, T alpha", [*lines, f"return {results[0]};"])
            lines, results = statements(CUDA, [derivative], {"z": "z", "y": "y", "alpha": "alpha"})
            members += _function("static ", "T derivative", "T z, T y, T alpha", [*lines, f"return {results[0]};"])
            lines, results = statements(
                CUDA, [formulas.ACTIVATIONS[kind].curvature], {"z": "z", "y": "y", "alpha": "alpha"}
            )
            members += _function("static ", "T second", "T z, T y, T alpha", [*lines, f"return {results[0]};"])
            yield from _struct(kind, members)

    return _namespace("activation", structs())


def _losses(texts: Iterable[str]) -> str:
    """Return a struct for each elementwise loss, ``loss::mse``, with ``at(p, t, parameter)``: value and slope."""

    def structs() -> Iterator[str]:
        for kind in (*formulas.LOSSES, *texts):
            if is_blocks(kind):
                yield from _struct(kind, _blocks(kind))
                continue
            names = {name: name for name in ("p", "t", "parameter")}
            lines, results = statements(CUDA, formulas.LOSSES[kind].terms, names)
            members = ["static constexpr bool elementwise = true;"]
            body = [*lines, f"return {{{', '.join(results)}}};"]
            members += _function("static ", "ValueAndSlope<T> at", "T p, T t, T parameter", body)
            yield from _struct(kind, members)

    return _namespace("loss", structs())


def _blocks(kind: str) -> list[str]:
    """Return the members of a loss of several outputs for each target: ``row``, in which a lane takes whole targets."""
    blocks = blocks_of(kind)
    places = ["j", *(f"{i} * step + j" for i in range(1, blocks.size))]
    lines, (value, *slopes) = statements(
        CUDA, [blocks.value, *blocks.slopes], {name: name for name in [*names_of(blocks.size), "t0"]} | {"t": "t0"}
    )
    body = [
        f"const Index step = n / {blocks.size};",
        "T total = 0;",
        "for (Index j = lanes.rank(); j < step; j += lanes.count) {",
        *_deeper(f"const T {name} = p[{place}];" for name, place in zip(names_of(blocks.size), places, strict=True)),
        "    const T t0 = t[j];",
        *_deeper(lines),
        f"    total += {value};",
        *_deeper(f"d[{place}] = factor * ({slope});" for place, slope in zip(places, slopes, strict=True)),
        "}",
        "// What a lane has written another one reads.",
        "if (lanes.count > 1) {",
        "    __syncwarp();",
        "}",
        "return lanes.sum(total);",
    ]
    arguments = "const T* p, const T* t, T* d, Index n, T factor, Lanes lanes"
    return [
        "static constexpr bool elementwise = false;",
        "template <typename T>",
        "using Target = T;",
        *_function("static ", "T row", arguments, body),
    ]


class _Signature(NamedTuple):
    """Of the function that makes a step: moments, each with the flag that it needs; numbers; when flags are on."""

    moments: dict[str, str]
    numbers: tuple[str, ...]
    conditions: dict[str, str]
    always: tuple[str, ...] = ()


# Adam keeps what AdamW lets decay: a factor of 1.
_STEPS = {
    "sgd": _Signature(
        {"velocity": "momentum"},
        ("T rate", "T momentum", "bool nesterov", "T decay"),
        {"momentum": "momentum != 0", "nesterov": "nesterov", "decay": "decay != 0"},
    ),
    "adam": _Signature(
        {"first": "", "second": ""},
        tuple(f"T {name}" for name in NUMBERS["adam"]),
        {"decay": "decay != 0"},
        ("decoupled",),
    ),
    "rmsprop": _Signature(
        {"square": "", "velocity": "momentum", "average": "centered"},
        (*(f"T {name}" for name in NUMBERS["rmsprop"]), "bool centered"),
        {"momentum": "momentum != 0", "centered": "centered", "decay": "decay != 0"},
    ),
}


def _updates(texts: Iterable[str]) -> str:
    """Return the step of each optimizer: ``sgd(p, g, velocity, ...)`` changes a parameter and its moments.

    Which flags are on is asked at run time; where it is a literal, nothing is left of what is off.
    """
    found: list[str] = []
    for kind, signature in _STEPS.items():
        moments = ", ".join(f"T& {moment}" for moment in signature.moments)
        arguments = ", ".join(["T& p", "T g", moments, *signature.numbers])
        body = _branches(kind, signature, list(signature.conditions), list(signature.always))
        found += [*_function("", f"void {kind}", arguments, body), ""]
    return "\n".join(["namespace tinynet {", "", *found, "}"])


def _branches(kind: str, signature: _Signature, left: list[str], on: list[str]) -> list[str]:
    """Return the statements for flags that are settled, and a branch for each that is not."""
    if left:
        first, *rest = left
        taken, other = (_branches(kind, signature, rest, flags) for flags in ([*on, first], on))
        if taken == other:
            return taken
        condition = signature.conditions[first]
        return [f"if ({condition}) {{", *_deeper(taken), "} else {", *_deeper(other), "}"]
    moments = [name for name, flag in signature.moments.items() if not flag or flag in on]
    symbols = {name: name for name in ("p", "g", *NUMBERS[kind])} | {f"m{i}": name for i, name in enumerate(moments)}
    lines, results = statements(CUDA, terms_of(kind, on), symbols)
    places = ["p", *moments]
    news = [f"const T new_{place} = {result};" for place, result in zip(places, results, strict=True)]
    return [*lines, *news, *(f"{place} = new_{place};" for place in places)]


def _deeper(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


HEADERS: dict[str, Callable[[Iterable[str]], str]] = {
    "activations.cuh": _activations,
    "elementwise_losses.cuh": _losses,
    "updates.cuh": _updates,
}
"""What writes each header, with the texts of further formulas."""

_TABLES: dict[str, tuple[str, formulas.Table[Any]]] = {
    "activations.cuh": ("activation", formulas.ACTIVATIONS),
    "elementwise_losses.cuh": ("loss", formulas.LOSSES),
}


def texts_in(code: str, file: str) -> tuple[str, ...]:
    """Return the kinds that a piece of code names and no list does, as ``activation::formula__exp_z``, for a header."""
    if file not in _TABLES:
        return ()
    namespace, table = _TABLES[file]
    named = set(re.findall(rf"\b{namespace}::(\w+)", code))
    return tuple(sorted(kind for kind in named if kind in table and kind not in list(table)))
