"""The one way to call a kernel: with the context of the work, and with its row of the table.

The context is what a call brings along and what the driver counts: addresses of data, the epoch, the rows in hand. A
row of the table holds what belongs to one step of one network: offsets in the arena, sizes, settings. Both are 64-bit
words, whole numbers or doubles. So every kernel has the same two arguments, and one machine code serves all networks.

The arena is the memory in which everything lies in panels: as many columns as a tile is wide, row after row. What lies
beyond the last column, or beyond the last input of a weight, is zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinynet_kernels.cpu.generated.ir import Code, Module, Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER
from tinynet_kernels.cpu.generated.target import VECTORS

POINTERS = (
    "arena",
    "order",
    "rates",
    "losses",
    "out",
    "parameters",
    "gradients",
    "moments",
    "buffers",
    "team",
    "yield",
)
"""Words of the context that are addresses: the arena, arrays of the caller, and what a team of threads shares."""

SOURCES = ("x", "y", "weight")
"""Data to gather from: of each an address, and the bytes from a row and from a column to the next."""

WHOLES = (
    "order_step",  # bytes from the order of an epoch to that of the next; 0 if all are the same
    "n_rates",
    "n_visits",
    "n_epochs",
    "laps",  # epochs that a kernel counts itself
    "batch",
    "block",  # rows that go through the network at a time
    "step",
    "draws",
    "seed",
    "epoch",
    "update",
    "start",  # of the batch, among the visits
    "batch_rows",
    "first",  # of the rows in hand, within the batch
    "rows",
    "finite",  # 1 until something that was gathered is not
    "thread",
    "n_threads",
    "first_range",  # that a thread takes: its own number, or 0 where all go through the network together
    "meetings",  # to which it has come
    "ranges",  # that a batch is cut into, however many threads there are: a power of two
    "range_shift",  # which one
    "range_step",  # bytes from the gradient of a range to that of the next
    "gradient",  # offset of that of the first one in the arena
    "range_gradient",  # offset of the gradient of the range in hand
    "low",  # where that range begins, within the batch
    "first_item",  # of the models, or parts of their samples, that a thread goes through
    "last_item",
    "parameters_step",  # bytes from what belongs to a model to the same of the next
    "buffers_step",
    "weight_step",
)

MANY = (
    "drive",  # address of the driver, which is called for each group of models
    "members",  # their numbers, as many as fill whole groups, as of all that each has one of
    "n_members",  # how many there are
    "n_padded",  # numbers in these arrays
    "first_model",  # of the call, among the members
    "last_model",
    "model",  # first one of the group in hand
    "numbers",  # their settings, in float64
    "counts",  # updates made before
    "drawn",  # masks drawn before
    "seeds",
    "model_losses",  # (epochs, members)
    "rates_step",  # numbers from a rate to the next: 1 if all models share them
    "order_model",  # bytes from the order of a model to that of the next; 0 if they share it
    "weight_model",  # the same for the weights of the samples
    "moments_row",  # for the moments of all models
    "out_model",  # for the predictions
)
"""Words for many models at once."""

REALS = (
    "mass",  # what a mean over the batch divides by
    "rate",
    "total",  # loss of the epoch
    "divisor",  # of that, for the loss that is reported
)

CONTEXT = (
    *POINTERS,
    *(f"{source}{part}" for source in SOURCES for part in ("", "_row", "_column")),
    *WHOLES,
    *MANY,
    *REALS,
)
"""What the words of the context are."""

PLACES = {name: place for place, name in enumerate(CONTEXT)}

ROW = 16
"""Words in a row of the table: the address of the kernel, and its arguments."""


class Frame:
    """What a kernel sees: its code, the context, its arguments."""

    def __init__(self, code: Code, context: Value, arguments: Value) -> None:
        self.code, self.context, self.arguments = code, context, arguments
        self.module = code.module
        self.real, self.bytes, self.lanes, self.row = (
            code.module.real,
            code.module.bytes,
            code.module.lanes,
            code.module.row,
        )
        self.width = VECTORS * self.lanes
        """Columns of a panel."""
        self.row_bytes = self.width * self.bytes
        """From a row of a panel to the next."""
        self.vector_bytes = self.lanes * self.bytes

    # -- arguments and context ---------------------------------------------------------------------------------------

    def size(self, i: int) -> Value:
        """Return an argument that is a whole number."""
        return self.code.load(self.code.at(self.arguments, i, I64), I64)

    def place(self, i: int) -> Value:
        """Return an argument that is an offset in the arena, as a pointer."""
        return self.code.at(self.pointer("arena"), self.size(i))

    def double(self, i: int) -> Value:
        """Return an argument that is a number."""
        return self.code.load(self.code.at(self.arguments, i, I64), DOUBLE)

    def number(self, i: int) -> Value:
        """Return an argument that is a number, in the type of the arrays."""
        return self.code.resize(self.double(i), self.real)

    def spread(self, i: int) -> Value:
        """Return an argument that is a number, in all lanes of a register."""
        return self.code.spread(self.number(i))

    def _word(self, name: str) -> Value:
        return self.code.at(self.context, PLACES[name], I64)

    def pointer(self, name: str) -> Value:
        """Return an address of the context."""
        return self.code.load(self._word(name), POINTER)

    def whole(self, name: str) -> Value:
        """Return a whole number of the context."""
        return self.code.load(self._word(name), I64)

    def state(self, name: str) -> Value:
        """Return a double of the context."""
        return self.code.load(self._word(name), DOUBLE)

    def put(self, name: str, value: Value | int) -> None:
        """Change a word of the context."""
        self.code.store(value if isinstance(value, Value) else self.code.constant(I64, value), self._word(name))

    # -- panels ------------------------------------------------------------------------------------------------------

    def panels(self, n: Value) -> Value:
        """Return how many panels ``n`` columns take."""
        return (n + (self.width - 1)) / self.width

    def mask(self, valid: Value, lanes: int | None = None) -> Value:
        """Return the bits that keep the first ``valid`` lanes of a register, or of so many lanes."""
        code, bits, lanes = self.code, f"i{8 * self.bytes}", lanes or self.lanes
        kind = f"<{lanes} x {bits}>"
        count = code.spread(code.convert("trunc", valid, bits), lanes)
        inside = code.compare("<", code.counting(kind), count)
        return code.convert("sext", inside, kind)

    def kept(self, mask: Value, value: Value) -> Value:
        """Return a vector with 0 where the mask has no bits.

        By bits: a select between 0 and a value becomes a masked store, which takes some 20 cycles on AMD's processors.
        """
        code = self.code
        return code.convert(
            "bitcast", code.op(mask.kind, f"and {mask}, {code.convert('bitcast', value, mask.kind).name}"), value.kind
        )

    def each_vector(self, n: Value, body: Callable[[Value, Value, Value], None]) -> None:
        """Run ``body(panel, offset, valid)`` for each column of vectors: its panel, bytes in a row, lanes in use."""

        def column(i: Value) -> None:
            panel = i / VECTORS
            body(panel, (i - panel * VECTORS) * self.vector_bytes, n - i * self.lanes)

        self.code.loop(0, (n + (self.lanes - 1)) / self.lanes, 1, column)


class Kernel(NamedTuple):
    """A kernel: its name, what writes it, and whether it works with more numbers than there are registers."""

    name: str
    body: Callable[[Frame], None]
    spills: bool = False


def write(module: Module, kernels: list[Kernel]) -> None:
    """Write kernels to a module."""
    for kernel in kernels:
        module.function(
            kernel.name,
            [POINTER, POINTER],
            lambda code, context, arguments, body=kernel.body: body(Frame(code, context, arguments)),
            spills=kernel.spills,
        )
