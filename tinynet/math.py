"""Functions for formulas of your own: ``tn.Activation(lambda x: x * tn.math.sigmoid(x))``.

A formula is made of these, arithmetic (``+ - * / **``) and comparisons (``< <= > >= ==``), of which ``where`` chooses.
They are right at the ends, too: no overflow where the result has none, and digits in the tails.
"""

from __future__ import annotations

from tinynet.backends.formulas import functions

absolute = functions.absolute
erf = functions.erf
erfc = functions.erfc
exp = functions.exp
expm1 = functions.expm1
log = functions.log
log1p = functions.log1p
maximum = functions.maximum
minimum = functions.minimum
sigmoid = functions.sigmoid
softplus = functions.softplus
sqrt = functions.sqrt
square = functions.square
tanh = functions.tanh
where = functions.where

__all__ = [
    "absolute",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "sigmoid",
    "softplus",
    "sqrt",
    "square",
    "tanh",
    "where",
]
