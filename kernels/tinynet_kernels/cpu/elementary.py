"""Elementary functions for loops that Numba compiles: those of the generated code.

NaN stays NaN in all of them. Their errors, in units of the last place, are stated in ``kernels/README.md`` and tested.
"""

from tinynet_kernels.cpu.generated.elementary import FUNCTIONS
from tinynet_kernels.cpu.linked import function

exp = function("exp", FUNCTIONS["exp"])
"""Exponential; subnormal results included."""
expm1_nonpositive = function("expm1_nonpositive", FUNCTIONS["expm1_nonpositive"])
"""``exp(x) - 1`` for ``x <= 0``, without cancellation."""
log = function("log", FUNCTIONS["log"])
"""Natural logarithm."""
log1p = function("log1p", FUNCTIONS["log1p"])
"""``log(1 + x)``, without cancellation."""
log1p_fraction = function("log1p_fraction", FUNCTIONS["log1p_fraction"])
"""``log(1 + x)`` for ``0 <= x <= 1``, without cancellation."""
tanh = function("tanh", FUNCTIONS["tanh"])
"""Hyperbolic tangent."""
erfc = function("erfc", FUNCTIONS["erfc"])
"""Complementary error function."""
