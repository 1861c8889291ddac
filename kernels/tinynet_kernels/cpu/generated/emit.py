"""From formulas to instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinynet_kernels.cpu.generated.elementary import FUNCTIONS
from tinynet_kernels.cpu.generated.ir import Code, Operand, Value
from tinynet_kernels.expressions import Expression, Term


class Writer:
    """Writes formulas of the same symbols; what several of them have in common is computed once.

    Parameters
    ----------
    code : Code
    symbols : mapping of str to Value
        What the symbols stand for.
    """

    def __init__(self, code: Code, symbols: Mapping[str, Value]) -> None:
        self.code, self.symbols = code, symbols
        self._kind = next(iter(symbols.values())).kind
        self._known: dict[tuple[object, ...], Operand] = {}

    def __call__(self, term: Term) -> Value:
        """Write a formula; return its value."""
        result = self._operand(term)
        return result if isinstance(result, Value) else self.code.constant(self._kind, result)

    def _operand(self, term: Term) -> Operand:
        """Return a value, or a number if that is all there is."""
        if not isinstance(term, Expression):
            return term
        if term.operation == "number":
            return float(term.content)
        if term.operation == "symbol":
            return self.symbols[term.content]
        operands = [self._operand(operand) for operand in term.operands]
        key = (term.operation, *(o.name if isinstance(o, Value) else o for o in operands))
        if key not in self._known:
            self._known[key] = self._write(term.operation, operands)
        return self._known[key]

    def _write(self, operation: str, operands: list[Operand]) -> Value:
        code = self.code
        if operation == "select":
            condition, a, b = operands
            assert isinstance(condition, Value)
            if not isinstance(a, Value) and not isinstance(b, Value):
                a = code.constant(self._kind, a)
            return code.select(condition, a, b)
        values = [o if isinstance(o, Value) else code.constant(self._kind, o) for o in operands]
        if operation in _BINARY:
            return _BINARY[operation](*values)
        if operation == "negative":
            return -values[0]
        if operation in FUNCTIONS:
            return FUNCTIONS[operation](values[0])
        return code.compare(operation, *values)


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
