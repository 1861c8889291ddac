"""A second way to run CUDA sources on the CPU: by NVRTC to PTX, and from there, instruction by instruction, to C++.

What ``builder`` runs is what g++ makes of a source. Here it is what NVIDIA's own compiler makes of it, with its fused
multiplications, its exponentials and its order of memory accesses; threads, barriers and shuffles are those of the
runtime. ``python -m tests.cuda_on_cpu.ptx [NAME ...]`` runs the cases of ``cases.py`` both ways.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import builder, nvrtc
from .arguments import Parameter
from .cases import selected
from .ptx_instructions import (
    COMPARED,
    FLOATS,
    INTEGERS,
    OTHER_TYPES,
    PARAMETERS,
    ROUNDED,
    SPECIAL,
    TYPES,
    WIDER,
)

TOLERANCE = 2e-5
"""Relative difference that results in float32 may have: products and sums are fused, and exp is another one."""

_FUNCTION = re.compile(
    r"(?:\.visible )?\.(?P<kind>entry|func)\s+(?:\(\s*\.param \.\w+ (?P<result>\w+)\s*\)\s*)?(?P<name>\w+)\s*"
    r"\((?P<parameters>[^)]*)\)\s*(?:\.(?:maxntid|minnctapersm|noreturn)[^\n{]*\n)*\s*(?P<end>[;{])"
)
_STATEMENT = re.compile(r"(?:@(?P<not>!?)%(?P<when>\w+)\s+)?(?P<opcode>[a-z][\w.]*)\s*(?P<operands>.*)", re.DOTALL)


_BLOCK = re.compile(r"^\s*\{\s*\n(.*?)^\s*\}\s*$", re.DOTALL | re.MULTILINE)


class UnknownInstructionError(NotImplementedError):
    """NVRTC has written something that this has never met."""


class _Body:
    """A function's statements in C++."""

    def __init__(self, text: str, dynamic: Sequence[str], parameters: Sequence[str] = ()) -> None:
        self.registers: dict[str, tuple[str, int]] = {}
        self.places = dict.fromkeys(dynamic, "ptx::DYNAMIC") | {name: f"uint64_t(&{name})" for name in parameters}
        self.n_static, self.temporaries, self.lines = 0, dict[str, None](), list[str]()
        for number, statement in enumerate(_BLOCK.sub(_opened, text).split(";")):
            self._statement(statement.strip(), number)

    def _statement(self, text: str, number: int) -> None:
        while match := re.match(r"\$(\w+):\s*", text):
            self.lines.append(f"{match[1]}:;")
            text = text[match.end() :]
        if not text:
            return
        if match := re.match(r"\.reg \.(\w+)\s+%(\w+)(?:<(\d+)>)?", text):
            self.registers[match[2]] = match[1], int(match[3] or 0)
        elif match := re.match(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]", text):
            self.n_static += -self.n_static % int(match[1])
            self.places[match[2]] = f"(ptx::STATIC + {self.n_static})"
            self.n_static += int(match[3])
        elif match := re.match(r"\.param \.b\d+ (\w+)", text):
            self.temporaries[match[1]] = None
        elif not text.startswith((".reg", ".pragma")):
            match = _STATEMENT.fullmatch(text)
            if match is None:
                raise UnknownInstructionError(f"PTX has {text!r}, which is not known here.")
            line = self._instruction(match["opcode"].split("."), _operands(match["operands"]), number)
            when = f"if ({match['not']}{match['when']}) " if match["when"] else ""
            self.lines.append(f"{when}{{ {line} }}")

    def _instruction(self, opcode: list[str], operands: list[str], number: int) -> str:
        root, kind, site = opcode[0], opcode[-1], f'cuda_on_cpu::Site{{"PTX, statement", {number}}}'
        match root:
            case "bra":
                return f"goto {operands[0].removeprefix('$')};"
            case "ret":
                return "goto the_end;"
            case "call":
                result, name, arguments = operands
                return f"{result[1:-1].strip()} = {name}({arguments[1:-1]});"
            case "bar" if opcode[1] == "sync":
                return f"__syncthreads({site});"
            case "bar" if opcode[1] == "warp":
                return f"__syncwarp({self._read(operands[0], 'u32')}, {site});"
            case "bar" if opcode[1:] == ["red", "or", "pred"]:
                return self._stored(operands[0], f"bool(__syncthreads_or({self._read(operands[2], 'pred')}, {site}))")
            case "shfl" if opcode[1:3] == ["sync", "bfly"]:
                values = ", ".join(self._read(operand, "u32") for operand in operands[1:])
                return self._stored(operands[0].split("|")[0], f"ptx::butterfly({values}, {site})")
            case "ld" | "st":
                return self._access(root, opcode[1], opcode[-1], operands, number)
            case "atom" if opcode[1:3] == ["global", "exch"]:
                address, value = self._address(operands[1]), self._read(operands[2], kind)
                return self._stored(operands[0], f"ptx::exchanged<{TYPES[kind]}>({address}, {value})")
            case "setp":
                return self._stored(operands[0], self._comparison(opcode, operands), "pred")
            case "cvt":
                return self._stored(operands[0], self._conversion(opcode, operands[1]), opcode[-2])
            case "mov" if "{" in "".join(operands):
                return self._packed(operands)
        wide = WIDER[kind] if opcode[:2] == ["mul", "wide"] else kind
        return self._stored(operands[0], self._computed(opcode, operands[1:]), wide)

    def _computed(self, opcode: list[str], operands: list[str]) -> str:
        kind, flush = opcode[-1], "ftz" in opcode
        name = ".".join(word for word in opcode[:-1] if word != "ftz")
        form = (FLOATS if kind[0] == "f" else INTEGERS).get(name)
        if form is None:
            raise UnknownInstructionError(f"PTX has {'.'.join(opcode)}, which is not known here.")
        others = OTHER_TYPES.get(name, ())
        kinds = [(others[i] if i < len(others) else "") or kind for i in range(len(operands))]
        values = [self._read(operand, own) for operand, own in zip(operands, kinds, strict=True)]
        if flush and kind == "f32":
            values = [f"ptx::flushed({v})" if own == "f32" else v for v, own in zip(values, kinds, strict=True)]
        unsigned = TYPES[kind.replace("s", "u")] if kind[0] in "sub" else TYPES[kind]
        if kind == "pred" and name == "not":
            form = "!{0}"
        result = form.format(*values, T=TYPES[kind], U=unsigned, W=TYPES[WIDER.get(kind, kind)])
        wide = WIDER[kind] if name == "mul.wide" else kind
        return f"ptx::flushed({result})" if flush and kind == "f32" else f"{TYPES[wide]}({result})"

    def _comparison(self, opcode: list[str], operands: list[str]) -> str:
        how, kind = opcode[1], opcode[-1]
        a, b = (self._read(operand, kind) for operand in operands[1:])
        if "ftz" in opcode:
            a, b = f"ptx::flushed({a})", f"ptx::flushed({b})"
        unordered = how.endswith("u")
        test = f"{a} {COMPARED[how.removesuffix('u')]} {b}"
        if how == "ne" and kind[0] == "f":  # False for NaN, unlike C++'s.
            return f"({a} < {b} || {a} > {b})"
        return f"({test} || std::isnan({a}) || std::isnan({b}))" if unordered else f"({test})"

    def _conversion(self, opcode: list[str], operand: str) -> str:
        to, source, words = opcode[-2], opcode[-1], opcode[1:-2]
        value = self._read(operand, source)
        if "ftz" in words and source == "f32":
            value = f"ptx::flushed({value})"
        for word, function in ROUNDED.items():
            if word in words:
                value = f"{function}({value})"
        if source[0] == "f" and to[0] != "f":
            value = f"cuda_on_cpu::saturate<{TYPES[to]}>({value})"
        value = f"{TYPES[to]}({value})"
        if "ftz" in words and to == "f32":
            value = f"ptx::flushed({value})"
        return f"ptx::saturated({value})" if "sat" in words else value

    def _access(self, root: str, space: str, kind: str, operands: list[str], number: int) -> str:
        place, target = (operands[1], operands[0]) if root == "ld" else (operands[0], operands[1])
        numbers = [item.strip() for item in target.strip("{}").split(",")]
        if space == "param" and root == "st":
            return f"{place[1:-1].split('+')[0].strip()} = ptx::as<uint64_t>({self._read(target, kind)});"
        if space == "param" and not place.startswith("[%"):
            name, _, offset = (part.strip() for part in place[1:-1].partition("+"))
            steps = (f"{int(offset or 0)} + {i} * sizeof({TYPES[kind]})" for i in range(len(numbers)))
            values = (f"ptx::of_parameter<{TYPES[kind]}, {step}>({name})" for step in steps)
            return " ".join(map(self._stored, numbers, values))
        template, address = f"<{TYPES[kind]}, {len(numbers)}>", self._address(place)
        if space == "shared":
            where = f"ptx::shared_at{template}({address}, own, n_own, ptx_dynamic, {number})"
        elif space in ("global", "param"):  # Of a struct that is a parameter, its address may be taken.
            where = f"ptx::global_at{template}({address}, {number})"
        else:
            raise UnknownInstructionError(f"PTX has memory of the kind .{space}, which is not known here.")
        if root == "ld":
            moves = [self._stored(item, f"place[{i}]", kind) for i, item in enumerate(numbers)]
        else:
            moves = [f"place[{i}] = {self._read(item, kind)};" for i, item in enumerate(numbers)]
        return f"{TYPES[kind]}* const place = {where}; {' '.join(moves)}"

    def _packed(self, operands: list[str]) -> str:
        target, source = operands
        if source.startswith("{"):
            low, high = (self._read(item.strip(), "u32") for item in source.strip("{}").split(","))
            return self._stored(target, f"(uint64_t({low}) | uint64_t({high}) << 32)")
        whole = self._read(source, "u64")
        low, high = (item.strip() for item in target.strip("{}").split(","))
        return self._stored(low, f"uint32_t({whole})") + self._stored(high, f"uint32_t({whole} >> 32)")

    def _address(self, text: str) -> str:
        base, _, offset = text[1:-1].partition("+")
        width = "u64" if base.startswith("%rd") else "u32"
        return f"({self._read(base.strip(), width)} + {TYPES[width]}({int(offset or 0)}))"

    def _read(self, text: str, kind: str) -> str:
        if text.startswith(("0f", "0d")):
            return f"cuda_on_cpu::bits<{TYPES[kind]}>({'uint32_t' if text[1] == 'f' else 'uint64_t'}(0x{text[2:]}ull))"
        if re.fullmatch(r"-?\d+", text):
            return f"{TYPES[kind]}({int(text) % 2**64}ull)"
        if "." in text:
            name, axis = text[1:].split(".")
            return f"{TYPES[kind]}({SPECIAL[name]}.{axis})"
        if text in self.places:
            return f"{TYPES[kind]}({self.places[text]})"
        return self._as(kind, self._kind(text), text[1:])

    def _stored(self, target: str, value: str, kind: str = "") -> str:
        if target == "_":
            return ""
        own = self._kind(target)
        return f"{target[1:]} = {self._as(own, kind, value) if kind else f'ptx::as<{TYPES[own]}>({value})'};"

    def _kind(self, register: str) -> str:
        return self.registers[re.sub(r"\d+$", "", register[1:])][0]

    @staticmethod
    def _as(kind: str, own: str, value: str) -> str:
        """Return a value of one type as one of another: as ``ptx::as`` does, in fewer words where that goes."""
        if TYPES[kind] == TYPES[own]:
            return value
        floats = "f" in kind[0] + own[0]
        return f"ptx::as<{TYPES[kind]}>({value})" if floats else f"{TYPES[kind]}({value})"


def _opened(block: re.Match[str]) -> str:
    """Return the statements of a block within a function; registers that are its own get names of their own."""
    text = block[1]
    for name in re.findall(r"\.reg \.\w+\s+%(\w+)\s*;", text):
        text = re.sub(rf"%{name}\b", f"%{name}_of_{block.start()}_", text)
    return text


def _operands(text: str) -> list[str]:
    """Split at the commas that are in no brackets."""
    found = re.findall(r"(?:\{[^}]*\}|\([^)]*\)|\[[^\]]*\]|[^,{(\[])+", text)
    return [operand.strip() for operand in found if operand.strip()]


def _parameter(parameter: Parameter) -> str:
    """Return what C++ calls the type of a kernel's parameter."""
    if parameter.pointer:
        return "const void*" if parameter.constant else "void*"
    return f"ptx::Struct<{parameter.base[1:]}>" if parameter.base[0] == "S" else PARAMETERS[parameter.base]


def translated(text: str, parameters: dict[str, tuple[Parameter, ...]]) -> str:
    """Write PTX as C++; of kernels with the parameters that their source gives them, by mangled name."""
    text = re.sub(r"//[^\n]*", "", text)
    dynamic = re.findall(r"\.extern \.shared \.align \d+ \.b8 (\w+)\[\]", text)
    common = "".join(re.findall(r"^\.shared [^;]*;\n", text, re.MULTILINE))  # Of several kernels: each has its own.
    parts = [
        '#pragma GCC optimize ("O0")',  # Quick to compile: functions of some thousand statements and jumps.
        '#include "ptx.hpp"',
        "extern __shared__ char ptx_dynamic[] __attribute__((aligned(16)));",
    ]
    for match in _FUNCTION.finditer(text):
        if match["kind"] == "entry" and match["name"] not in parameters:
            continue  # A kernel that is no template is compiled unasked.
        names = re.findall(r"\.param (?:\.align \d+ )?\.\w+ (\w+)", match["parameters"])
        if match["kind"] == "func":
            declared = ", ".join(f"uint64_t {name}" for name in names)
            head = f"static uint64_t {match['name']}({declared})"
        else:
            of = parameters[match["name"]]
            types = [_parameter(p) for p in of]
            declared = ", ".join(f"{t} {name}" for t, name in zip(types, names, strict=True))
            head = f'extern "C" __global__ void {match["name"]}({declared})'
        if match["end"] == ";":
            parts.append(f"{head};")
            continue
        body = _Body(common + text[match.end() : text.index("\n}\n", match.end())], dynamic, names)
        own = f"own_{match['name']}" if body.n_static else "nullptr"
        if body.n_static:
            parts.append(f"__shared__ char {own}[{body.n_static}] __attribute__((aligned(16)));")
        parts.append(f"{head} {{")
        parts.append(f"char* const own = {own}; constexpr uint32_t n_own = {body.n_static};")
        for prefix, (kind, count) in body.registers.items():
            parts.append(f"{TYPES[kind]} {', '.join(f'{prefix}{i}' for i in range(count)) or prefix};")
        results = [match["result"]] if match["result"] else []
        parts += [f"uint64_t {name};" for name in [*body.temporaries, *results]]
        parts += [*body.lines, f"the_end: return {match['result'] or ''};", "}"]
    return "\n".join(parts)


class PtxModule:
    """The kernels of a source, as NVRTC compiles them for a GPU, on NumPy arrays; as ``builder.Module``."""

    def __init__(self, code: str, name_expressions: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        known = builder.build(code, name_expressions, options)
        text, self._lowered = nvrtc.ptx(code, name_expressions, options)
        parameters = {self._lowered.get(name, name): known.get_function(name).parameters for name in known.names}
        self._module = builder.build(translated(text, parameters), sanitizer="none")

    def get_function(self, name: str) -> builder.Kernel:
        """Return a kernel by its name expression, or by the name of an ``extern "C"`` kernel."""
        return self._module.get_function(self._lowered.get(name, name))


@functools.lru_cache(maxsize=256)
def build(code: str, name_expressions: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> PtxModule:
    """Compile CUDA source text by NVRTC, for the CPU; as ``builder.build``."""
    return PtxModule(code, name_expressions, options)


def difference(got: Any, wanted: Any) -> float:
    """Return how far apart arrays are, relative to the largest number; NaN is equal to NaN."""
    if got.dtype.kind != "f":
        return float(np.any(got != wanted))
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(got.astype(float) - wanted))
    return float(np.max(apart, initial=0.0) / max(1.0, float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0))))


def main(names: Sequence[str] = ()) -> int:
    """Run cases both ways; return 1 if one differs by more than rounding."""
    if nvrtc.missing():
        raise SystemExit(nvrtc.missing())
    bad = 0
    for case in selected(names):
        source = case.source
        text = source.code, source.name_expressions, source.options
        module = build(*text)
        got, wanted = case.run(module), case.run(builder.build(*text))
        with builder.order("random", seed=1):
            again = case.run(module)
        apart = max((difference(a, b) for a, b in zip(got, wanted, strict=True)), default=0.0)
        ordered = "" if all(a.tobytes() == b.tobytes() for a, b in zip(got, again, strict=True)) else "; BY ORDER, TOO"
        print(f"{case.name}: differs by {apart:.1e}{ordered}", flush=True)
        bad += not apart <= TOLERANCE or bool(ordered)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
