"""The names of CuPy's functions that are NumPy's, by how they are called, and of the operators of its arrays."""

from __future__ import annotations

UFUNCS = (
    *(
        "absolute",
        "add",
        "arctan",
        "arctanh",
        "ceil",
        "copysign",
        "cos",
        "cosh",
        "divide",
        "equal",
        "exp",
        "exp2",
        "expm1",
    ),
    *(
        "floor",
        "floor_divide",
        "fmax",
        "fmin",
        "greater",
        "greater_equal",
        "hypot",
        "invert",
        "isfinite",
        "isinf",
        "isnan",
    ),
    *("less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or"),
    *("logical_xor", "maximum", "minimum", "multiply", "negative", "not_equal", "positive", "power", "reciprocal"),
    *(
        "remainder",
        "rint",
        "sign",
        "signbit",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "subtract",
        "tan",
        "tanh",
        "true_divide",
    ),
    *("trunc", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
)
REDUCTIONS = ("sum", "prod", "mean", "var", "std", "max", "min", "amax", "amin", "all", "any", "argmax", "argmin")
SCANS = (
    "cumsum",
    "cumprod",
    "count_nonzero",
    "round",
    "diagonal",
    "tril",
    "triu",
    "repeat",
    "tile",
    "roll",
    "flip",
    "diff",
)
VIEWS = ("expand_dims", "squeeze", "swapaxes", "moveaxis", "transpose", "atleast_1d", "atleast_2d", "broadcast_to")
JOINS = ("concatenate", "stack", "vstack", "hstack", "column_stack")
COMPARISONS = ("isclose", "allclose", "array_equal")
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
TYPES = (
    *(
        "bool_",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    ),
    *("dtype", "finfo", "iinfo", "promote_types"),
)
METHODS = ("sum", "prod", "mean", "var", "std", "max", "min", "all", "any", "argmax", "argmin", "cumsum", "round")
OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
ORDERINGS = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
