"""What every loss is given.

All of them have the same arguments: predictions, targets, where the gradient goes, weights of the samples; bytes
between the panels of predictions (and of the gradient), of targets; columns; the factor of one element, that of what
is reported, whether a batch's mean is meant, and the loss's parameter. Beyond the last column the gradient is 0.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE
from tinynet_kernels.cpu.generated.target import VECTORS


class LossArguments:
    """The arguments of a loss, and what follows from them."""

    def __init__(self, frame: Frame) -> None:
        self.frame, code = frame, frame.code
        self.p, self.t, self.d, self.weights = (frame.place(i) for i in range(4))
        self.p_step, self.t_step, self.n = (frame.size(i) for i in range(4, 7))
        mean = code.compare("!=", frame.size(9), 0)
        mass = frame.state("mass")
        rows = code.convert("sitofp", frame.whole("batch_rows"), DOUBLE)
        scale = frame.double(7)
        self.factor = code.resize(scale / code.select(mean, mass, 1.0), frame.real)
        """Of the gradient."""
        self.counted = frame.double(8) * scale * code.select(mean, rows / mass, 1.0)
        """Of the value, in what the epoch adds up."""
        self.parameter = frame.spread(10)

    def add(self, value: Value) -> None:
        """Add the sum over the rows to the loss of the epoch."""
        self.frame.put("total", self.frame.code.fma(self.counted, value, self.frame.state("total")))

    def place(self, step: Value, column: Value) -> Value:
        """Return where a column is in a row whose panels are ``step`` bytes apart."""
        panel = column / self.frame.width
        return panel * step + (column - panel * self.frame.width) * self.frame.bytes

    def clear(self, d: Value) -> None:
        """Write zeros to the gradient of a row, beyond its last column too."""
        frame, code = self.frame, self.frame.code

        def panel(p: Value) -> None:
            for v in range(VECTORS):
                place = code.at(code.at(d, p * self.p_step), v * frame.vector_bytes)
                code.store(code.constant(frame.row, 0.0), place)

        code.loop(0, frame.panels(self.n), 1, panel)
