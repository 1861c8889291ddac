"""Writer: collects the lines of a fused function."""

from tinynet_kernels.network import Setting

SIGNATURE = (
    "parameters, gradients, moments, buffers, x, y, sample_weight, order, rates, losses, "
    "scratch, x_batch, y_batch, weight_batch, places, numbers, step, draws, seed"
)
"""The arguments of every fused function that trains."""

PREDICT_SIGNATURE = "parameters, buffers, places, numbers, x, out"
"""The arguments of one that predicts. It returns whether all of ``x`` is finite, and has scratch of its own: several
threads may predict with one model at once."""

HEAD = '''"""Written by tinynet; safe to delete."""

import numpy as np

from tinynet_kernels.cpu import activations, compiling, data, elementary, linear, optimizers, random
from tinynet_kernels.cpu import losses as losses_of
from tinynet_kernels.cpu.fused.blas import add_product_transposed_left, product, product_transposed_right
'''
"""What the source of a fused function imports."""


class Writer:
    """Collects lines of source at a depth of indentation, the kernels that they call, and the settings they read."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.kernels: dict[str, str] = {}
        self.numbers: list[float] = []
        self.depth = 1

    def __call__(self, *lines: str) -> None:
        """Append lines at the present depth."""
        self.lines += ["    " * self.depth + line for line in lines]

    def number(self, value: Setting) -> str:
        """Return the expression for a setting of one model, whose value is an argument of the function."""
        assert not isinstance(value, tuple), "one model has one value of a setting"
        self.numbers.append(float(value))
        return f"numbers[{len(self.numbers) - 1}]"

    def kernel(self, name: str, maker: str) -> str:
        """Return the name under which the source calls a kernel that an expression makes."""
        self.kernels[name] = maker
        return name

    def module(self, signature: str, head: str) -> str:
        """Return the source of the module with the function ``run``."""
        made = "".join(f"{name} = {maker}\n" for name, maker in sorted(self.kernels.items()))
        body = "\n".join(self.lines)
        return f"{head}\n{made}\n\n@compiling.compiled\ndef run({signature}):\n{body}\n"
