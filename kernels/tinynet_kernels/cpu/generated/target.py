"""Target: what the generated code must know of a processor, which is little."""

from __future__ import annotations

from typing import NamedTuple

NARROWEST = 16
"""Bytes of the narrowest vector registers."""
VECTORS = 2
"""Registers in the width of a tile."""


class Target(NamedTuple):
    """A kind of processor.

    Attributes
    ----------
    triple, cpu, features : str
        As LLVM names them.
    vector_bytes : int
        Size of a vector register.
    registers : int
        How many there are.
    fused : bool
        Whether products and sums are one instruction.

    Examples
    --------
    >>> target = Target.of("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx,+avx2,+fma")
    >>> target.vector_bytes, target.registers, target.high
    (32, 16, 6)
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fused: bool

    @classmethod
    def of(cls, triple: str, cpu: str, features: str) -> Target:
        """Return the target that LLVM's names stand for."""
        has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
        if triple.startswith(("aarch64", "arm64")):
            return cls(triple, cpu, features, 16, 32, True)
        if triple.startswith("x86_64"):
            if "avx512f" in has:
                return cls(triple, cpu, features, 64, 32, True)
            return cls(triple, cpu, features, 32 if "avx" in has else 16, 16, "fma" in has)
        return cls(triple, cpu, features, 16, 16, False)

    @property
    def narrower(self) -> Target:
        """The same processor with registers of AVX, if it has wider ones; else itself."""
        return self._replace(vector_bytes=min(self.vector_bytes, 32))

    def holding(self, n: int, size: int) -> Target:
        """Return the same processor with its narrowest registers that hold ``n`` numbers of ``size`` bytes, if any do.

        Examples
        --------
        >>> target = Target.of("x86_64-unknown-linux-gnu", "x86-64-v4", "+avx512f,+avx512vl")
        >>> [target.holding(n, 4).vector_bytes for n in (1, 4, 5, 9, 1000)]
        [16, 16, 32, 64, 64]
        """
        vector_bytes = self.vector_bytes
        while vector_bytes > NARROWEST and vector_bytes // 2 >= n * size:
            vector_bytes //= 2
        return self._replace(vector_bytes=vector_bytes)

    @property
    def high(self) -> int:
        """Rows of a tile of sums that stay in registers, beside what is being multiplied.

        With 16 registers the sums take all but what two vectors of the one factor and the numbers of the other need.
        With 32 there is room for more than the eight rows that keep two units of multiply-adds busy; more rows would
        only waste more of a small batch.
        """
        if self.registers == 32:
            return 8
        return 6 if self.fused else 4
