"""Elementary functions of one number, in its own dtype."""

import math

from tinynet_kernels.cpu.compiling import inlined


@inlined
def exp(x):
    """Exponential."""
    return type(x)(math.exp(x))


@inlined
def expm1(x):
    """``exp(x) - 1``."""
    return type(x)(math.expm1(x))


@inlined
def log1p(x):
    """``log(1 + x)``."""
    return type(x)(math.log1p(x))


@inlined
def tanh(x):
    """Hyperbolic tangent."""
    return type(x)(math.tanh(x))


@inlined
def sigmoid(x):
    """``1 / (1 + exp(-x))``, written so that the exponential cannot overflow and the left tail keeps its digits."""
    e = exp(-abs(x))
    return (e if x < 0 else type(x)(1)) / (type(x)(1) + e)
