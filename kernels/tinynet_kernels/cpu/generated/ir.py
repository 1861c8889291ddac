"""LLVM IR as text: values that know their type, functions, and loops whose carried values are phis.

Text is the quickest way from Python to LLVM: an instruction costs 2 us to write, and a tenth of what building objects
and printing them would. No pass cleans up behind it, so what is written here is what the processor gets: constants
are folded, loops come out rotated with their sums in registers, and the innermost addresses are pointers that
advance.

A whole number may be a Python integer; it then is a constant of the machine code. The types are LLVM's own names:
``float``, ``double``, ``i64``, ``ptr``, and vectors of them, ``<8 x float>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinynet_kernels.cpu.generated.ir_types import (
    BYTE,
    BYTES,
    DOUBLE,
    I64,
    POINTER,
    element_of,
    lanes_of,
    literal,
    vector,
    with_element,
)
from tinynet_kernels.cpu.generated.target import Target


class Value:
    """A number, vector or pointer in a function: its type and its name. Arithmetic writes instructions."""

    __slots__ = ("code", "kind", "name")

    def __init__(self, code: Code, kind: str, name: str) -> None:
        self.code, self.kind, self.name = code, kind, name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def __add__(self, other: Operand) -> Value:
        return self.code.arithmetic("add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.code.arithmetic("add", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.code.arithmetic("sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.code.arithmetic("sub", self.code.like(self, other), self)

    def __mul__(self, other: Operand) -> Value:
        return self.code.arithmetic("mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.code.arithmetic("mul", self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.code.arithmetic("div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.code.arithmetic("div", self.code.like(self, other), self)

    def __neg__(self) -> Value:
        return self.code.op(self.kind, f"fneg {self}")


Operand = Value | int | float
Whole = Value | int
"""A whole number: an i64 of the function, or one that is known when the code is written."""


class Module:
    """Functions for one processor, in terms of one type of floating-point numbers.

    Attributes
    ----------
    real : {"float", "double"}
    lanes : int
        Numbers in a register, or in several that make up a row.
    bytes : int
        Of a number.
    row : str
        The type of a whole row of numbers.
    """

    def __init__(self, target: Target, dtype: str, registers: int = 1) -> None:
        self.target, self.dtype = target, dtype
        self.real = {"float32": "float", "float64": "double"}[dtype]
        self.bytes = BYTES[self.real]
        self.lanes = registers * target.vector_bytes // self.bytes
        self.row = vector(self.real, self.lanes)
        self.functions: dict[str, str] = {}
        self.declared: set[str] = set()

    def function(
        self,
        name: str,
        parameters: Sequence[str],
        body: Callable[..., Any],
        *,
        exported: bool = True,
        spills: bool = False,
    ) -> None:
        """Write a function unless there is one of this name; ``body(code, *arguments)`` writes its instructions.

        Functions are never inlined, so that each is compiled once with the registers to itself, and begin at a multiple
        of 64 bytes: without that the same loop took 15 or 25 us by luck. One that ``spills`` has its stack aligned,
        too, so that no register that lies there is on two cache lines.
        """
        if name in self.functions:
            return
        self.functions[name] = ""  # Keeps its place before those that the body asks for.
        code = Code(self)
        arguments = [Value(code, kind, f"%a{i}") for i, kind in enumerate(parameters)]
        body(code, *arguments)
        head = f"define {'' if exported else 'internal '}void @{name}({', '.join(map(str, arguments))})"
        lines = "\n".join(["entry:", *code.lines, "  ret void"])
        stack = "alignstack(64) " if spills else ""
        self.functions[name] = f"{head} nounwind noinline {stack}align 64 {{\n{lines}\n}}\n"

    def text(self) -> str:
        """Return the module as LLVM reads it."""
        return "\n".join([*sorted(self.declared), *self.functions.values()])


class Code:
    """Writes the instructions of one function, block after block."""

    def __init__(self, module: Module) -> None:
        self.module, self.count, self.block = module, 0, "entry"
        self.lines: list[str] = []

    def emit(self, line: str) -> None:
        """Write an instruction without a result."""
        self.lines.append("  " + line)

    def op(self, kind: str, text: str) -> Value:
        """Write an instruction; return its result."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return Value(self, kind, name)

    def constant(self, kind: str, number: float) -> Value:
        """Return a number, in a vector the same in all lanes."""
        return Value(self, kind, literal(kind, number))

    def like(self, pattern: Value, other: Operand) -> Value:
        """Return an operand as a value of the type of another one."""
        return other if isinstance(other, Value) else self.constant(pattern.kind, other)

    def whole(self, number: Whole) -> Value:
        """Return a whole number as a value."""
        return number if isinstance(number, Value) else self.constant(I64, number)

    # -- arithmetic --------------------------------------------------------------------------------------------------

    def arithmetic(self, name: str, a: Value, b: Operand) -> Value:
        """Add, subtract, multiply or divide. A product and the sum it goes into may be rounded once (``contract``)."""
        if element_of(a.kind)[0] == "i":
            if (b == 0 and name in ("add", "sub")) or (b == 1 and name in ("mul", "div")):
                return a
            return self.op(a.kind, f"{'sdiv' if name == 'div' else name} {a}, {self.like(a, b).name}")
        return self.op(a.kind, f"f{name} contract {a}, {self.like(a, b).name}")

    def fma(self, a: Operand, b: Value, c: Value) -> Value:
        """Return ``a * b + c``, rounded once where the processor can; ``llvm.fma`` would be a call elsewhere."""
        return self.call_intrinsic("fmuladd", self.like(b, a), b, c)

    def compare(self, test: str, a: Value, b: Operand) -> Value:
        """Compare by ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``; where one is NaN, only ``!=`` holds."""
        names = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
        if element_of(a.kind)[0] == "i":
            words = f"icmp {'' if test in ('==', '!=') else 's'}{names[test]}"
        else:
            words = f"fcmp {'u' if test == '!=' else 'o'}{names[test]}"
        return self.op(with_element(a.kind, "i1"), f"{words} {a}, {self.like(a, b).name}")

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """Return ``a`` where the condition holds, else ``b``, of which at least one is a value."""
        pattern = a if isinstance(a, Value) else b
        assert isinstance(pattern, Value)
        return self.op(pattern.kind, f"select {condition}, {self.like(pattern, a)}, {self.like(pattern, b)}")

    def smaller(self, a: Value, b: Whole) -> Value:
        """Return the smaller of two whole numbers."""
        return self.select(self.compare("<", a, b), a, b)

    def call_intrinsic(self, name: str, *arguments: Value, flags: str = "", result: str | None = None) -> Value:
        """Call what LLVM turns into instructions by itself; the name gets the type of the first argument appended."""
        kind = arguments[-1].kind
        suffix = ("" if kind == element_of(kind) else f"v{lanes_of(kind)}") + (
            {"float": "f32", "double": "f64"}.get(element_of(kind)) or element_of(kind)
        )
        result = result or kind
        full = f"@llvm.{name}.{suffix}"
        self.module.declared.add(f"declare {result} {full}({', '.join(a.kind for a in arguments)})")
        return self.op(result, f"call {flags}{result} {full}({', '.join(map(str, arguments))})")

    def call_each(self, address: int, arguments: Sequence[Value]) -> Value:
        """Call a function of doubles, which is not ours, for each lane in turn."""
        kind = arguments[0].kind
        wide = [self.resize(argument, DOUBLE) for argument in arguments]
        result = None
        for lane in range(lanes_of(kind)):
            numbers = wide if kind == element_of(kind) else [self.extract(argument, lane) for argument in wide]
            call = f"call double inttoptr (i64 {address} to ptr)({', '.join(map(str, numbers))})"
            found = self.resize(self.op(DOUBLE, call), element_of(kind))
            if kind == element_of(kind):
                return found
            result = self.op(kind, f"insertelement {result or f'{kind} poison'}, {found}, i64 {lane}")
        assert result is not None
        return result

    def convert(self, instruction: str, value: Value, kind: str) -> Value:
        """Change the type by ``bitcast``, ``sitofp``, ``fpext`` and their like."""
        return value if value.kind == kind else self.op(kind, f"{instruction} {value} to {kind}")

    def resize(self, value: Value, element: str) -> Value:
        """Return floating-point numbers as ``float`` or ``double``."""
        wider = BYTES[element] > BYTES[element_of(value.kind)]
        return self.convert("fpext" if wider else "fptrunc", value, with_element(value.kind, element))

    # -- lanes -------------------------------------------------------------------------------------------------------

    def spread(self, number: Value, lanes: int | None = None) -> Value:
        """Return a vector with a number in all lanes, by default as many as fill a register."""
        kind = vector(number.kind, lanes or self.module.lanes)
        if kind == number.kind:
            return number
        first = self.op(kind, f"insertelement {kind} poison, {number}, i64 0")
        return self.op(kind, f"shufflevector {first}, {kind} poison, <{lanes_of(kind)} x i32> zeroinitializer")

    def shuffle(self, a: Value, b: Value, places: Sequence[int]) -> Value:
        """Return a vector of lanes of two others, whose lanes are numbered through."""
        mask = ", ".join(f"i32 {place}" for place in places)
        return self.op(
            vector(element_of(a.kind), len(places)), f"shufflevector {a}, {b}, <{len(places)} x i32> <{mask}>"
        )

    def counting(self, kind: str) -> Value:
        """Return the whole numbers from 0 on, one in each lane."""
        element = element_of(kind)
        return Value(self, kind, f"<{', '.join(f'{element} {i}' for i in range(lanes_of(kind)))}>")

    def total(self, a: Value) -> Value:
        """Return the sum over the lanes, in a fixed order."""
        if a.kind == element_of(a.kind):
            return a
        zero = self.constant(element_of(a.kind), -0.0)
        return self.call_intrinsic("vector.reduce.fadd", zero, a, flags="reassoc ", result=zero.kind)

    def halves(self, a: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """Combine the lanes to one number, by halves."""
        lanes = lanes_of(a.kind)
        while lanes > 2:
            lanes //= 2
            a = combine(self.shuffle(a, a, range(lanes)), self.shuffle(a, a, range(lanes, 2 * lanes)))
        return combine(self.extract(a, 0), self.extract(a, 1)) if lanes == 2 else a

    def extract(self, a: Value, lane: int) -> Value:
        """Return one lane."""
        return self.op(element_of(a.kind), f"extractelement {a}, i64 {lane}")

    # -- memory ------------------------------------------------------------------------------------------------------

    def at(self, pointer: Value, offset: Whole, kind: str = BYTE) -> Value:
        """Return a pointer moved on by so many elements of a type."""
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.op(POINTER, f"getelementptr {kind}, {pointer}, {self.whole(offset)}")

    def load(self, pointer: Value, kind: str) -> Value:
        """Read from memory, aligned to an element."""
        return self.op(kind, f"load {kind}, {pointer}, align {BYTES[element_of(kind)]}")

    def store(self, value: Value, pointer: Value) -> None:
        """Write to memory, aligned to an element."""
        self.emit(f"store {value}, {pointer}, align {BYTES[element_of(value.kind)]}")

    def prefetch(self, pointer: Value) -> None:
        """Ask for a cache line that will be read, in the second-level cache: in the first it would be in the way."""
        self.module.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.emit(f"call void @llvm.prefetch.p0({pointer}, i32 0, i32 2, i32 1)")

    # -- control -----------------------------------------------------------------------------------------------------

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def loop(
        self, start: Whole, stop: Whole, step: Whole, body: Callable[..., Any], *carried: Value
    ) -> tuple[Value, ...]:
        """Count from ``start`` to before ``stop``; ``body(index, *values)`` returns the next ones of those carried.

        Returns
        -------
        tuple of Value
            The last values: those that were given, if the loop does not run at all.
        """
        self.count += 1
        name, before, first = f"loop{self.count}", self.block, self.whole(start)
        runs = self.compare("<", first, stop)
        before = self.block
        self.emit(f"br {runs}, label %{name}, label %{name}.end")
        self.label(name)
        place = len(self.lines)
        index = Value(self, I64, f"%{name}.i")
        phis = [Value(self, value.kind, f"%{name}.c{i}") for i, value in enumerate(carried)]
        following = body(index, *phis)
        following = () if following is None else following
        onward = self.op(I64, f"add nuw nsw {index}, {self.whole(step).name}")
        again = self.compare("<", onward, stop)
        last = self.block
        self.emit(f"br {again}, label %{name}, label %{name}.end")
        pairs = zip([index, *phis], [first, *carried], [onward, *following], strict=True)
        self.lines[place:place] = [
            f"  {phi.name} = phi {phi.kind} [{old.name}, %{before}], [{new.name}, %{last}]" for phi, old, new in pairs
        ]
        self.label(f"{name}.end")
        return tuple(
            self.op(old.kind, f"phi {old.kind} [{old.name}, %{before}], [{new.name}, %{last}]")
            for old, new in zip(carried, following, strict=True)
        )

    def until(self, body: Callable[[Value], Value]) -> None:
        """Run ``body(count)``, which counts from 0, until what it returns holds."""
        self.count += 1
        name, before = f"until{self.count}", self.block
        self.emit(f"br label %{name}")
        self.label(name)
        place, index = len(self.lines), Value(self, I64, f"%{name}.i")
        done = body(index)
        onward = self.op(I64, f"add {index}, 1")
        self.emit(f"br {done}, label %{name}.end, label %{name}")
        self.lines.insert(place, f"  {index.name} = phi i64 [0, %{before}], [{onward.name}, %{self.block}]")
        self.label(f"{name}.end")

    def when(self, condition: Value, body: Callable[[], Any], otherwise: Callable[[], Any] | None = None) -> None:
        """Run ``body`` if a condition holds, else ``otherwise``. They define nothing that is used behind them."""
        self.count += 1
        name = f"if{self.count}"
        self.emit(f"br {condition}, label %{name}, label %{name}.{'else' if otherwise else 'end'}")
        self.label(name)
        body()
        self.emit(f"br label %{name}.end")
        if otherwise:
            self.label(f"{name}.else")
            otherwise()
            self.emit(f"br label %{name}.end")
        self.label(f"{name}.end")

    def call(self, function: str | Value, *arguments: Value) -> None:
        """Call a function of the module by its name, or any by its address."""
        name = f"@{function}" if isinstance(function, str) else function.name
        self.emit(f"call void {name}({', '.join(map(str, arguments))})")
