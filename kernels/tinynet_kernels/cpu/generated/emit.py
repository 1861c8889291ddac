"""From formulas to instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinynet_kernels.calls import CALL
from tinynet_kernels.cpu.generated.elementary import FUNCTIONS, exp_nonpositive
from tinynet_kernels.cpu.generated.ir import Code, Operand, Value
from tinynet_kernels.expressions import Term
from tinynet_kernels.steps import follow


class Writer:
    """Writes formulas of the same symbols; what several of them have in common is computed once.

    Parameters
    ----------
    code : Code
    symbols : mapping of str to Value
        What the symbols stand for.
    """

    def __init__(self, code: Code, symbols: Mapping[str, Value]) -> None:
        self.code = code
        self.symbols: Mapping[str, Operand] = symbols
        self._kind = next(iter(symbols.values())).kind
        self._known: dict[tuple[object, ...], Value] = {}
        self._sizes: set[str] = set()
        """Names of absolute values."""
        self._nonpositive: set[str] = set()
        """Names of what is never above 0."""

    def __call__(self, term: Term) -> Value:
        """Write a formula; return its value."""
        (result,) = follow([term], self.symbols, self._number, self._apply)
        return self._value(result)

    @staticmethod
    def _number(number: float) -> Operand:
        return number

    def _value(self, operand: Operand) -> Value:
        return operand if isinstance(operand, Value) else self.code.constant(self._kind, operand)

    def _apply(self, operation: str, *operands: Operand) -> Value:
        key = _key(operation, *operands)
        if key not in self._known:
            self._known[key] = self._write(operation, *operands)
        return self._known[key]

    def _write(self, operation: str, *operands: Operand) -> Value:
        code = self.code
        if operation == "select":
            condition, a, b = operands
            assert isinstance(condition, Value)
            chosen = code.select(condition, a if isinstance(b, Value) else self._value(a), b)
            if isinstance(a, Value) and self._is_below(condition, a, b):
                self._nonpositive.add(chosen.name)
            return chosen
        if operation == CALL:
            address, *arguments = operands
            assert not isinstance(address, Value)
            return code.call_each(int(address), [self._value(argument) for argument in arguments])
        values = [self._value(operand) for operand in operands]
        if operation in _BINARY:
            return _BINARY[operation](*values)
        if operation == "negative":
            negative = -values[0]
            if values[0].name in self._sizes:
                self._nonpositive.add(negative.name)
            return negative
        if operation == "exp" and values[0].name in self._nonpositive:
            return exp_nonpositive(values[0])
        if operation in FUNCTIONS:
            found = FUNCTIONS[operation](values[0])
            if operation == "abs":
                self._sizes.add(found.name)
            return found
        return code.compare(operation, *values)

    def _is_below(self, condition: Operand, a: Operand, b: Operand) -> bool:
        """Whether ``select(condition, a, b)`` is ``-|a|``."""
        return self._wrote(condition, "<=", a, 0.0) and self._wrote(b, "negative", a)

    def _wrote(self, value: Operand, operation: str, *operands: Operand) -> bool:
        """Whether a value is that of an operation."""
        known = self._known.get(_key(operation, *operands))
        return known is not None and isinstance(value, Value) and known.name == value.name


def _key(operation: str, *operands: Operand) -> tuple[object, ...]:
    return (operation, *(o.name if isinstance(o, Value) else repr(o) for o in operands))


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
