"""What the instructions of PTX compute, in C++: those that NVRTC writes for the kernels of this project."""

TYPES = {
    "s16": "int16_t",
    "u16": "uint16_t",
    "b16": "uint16_t",
    "s32": "int32_t",
    "u32": "uint32_t",
    "b32": "uint32_t",
    "s8": "int8_t",
    "u8": "uint8_t",
    "b8": "uint8_t",
    "s64": "int64_t",
    "u64": "uint64_t",
    "b64": "uint64_t",
    "f32": "float",
    "f64": "double",
    "pred": "bool",
}
"""What C++ calls the types of PTX."""

WIDER = {
    "s16": "s32",
    "u16": "u32",
    "s32": "s64",
    "u32": "u64",
}
"""What a product of two numbers of a type has, where nothing of it is cut off."""

PARAMETERS = {
    "i4": "int32_t",
    "u4": "uint32_t",
    "i8": "int64_t",
    "u8": "uint64_t",
    "f4": "float",
    "f8": "double",
    "b1": "bool",
}
"""What C++ calls the types of kernel parameters, which launch.hpp has letters for."""

FLOATS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "neg": "-{0}",
    "abs": "std::fabs({0})",
    "div.rn": "{0} / {1}",
    "rcp.rn": "1 / {0}",
    "sqrt.rn": "std::sqrt({0})",
    "fma.rn": "std::fma({0}, {1}, {2})",
    "add.rn": "{0} + {1}",
    "mul.rn": "{0} * {1}",
    "min": "std::fmin({0}, {1})",
    "max": "std::fmax({0}, {1})",
    "ex2.approx": "exp2f({0})",
    "lg2.approx": "log2f({0})",
    "fma.rm": "ptx::fused_down({0}, {1}, {2})",
    "add.rz": "ptx::added_to_zero({0}, {1})",
    "copysign": "std::copysign({1}, {0})",
    "selp": "{2} ? {0} : {1}",
    "mov": "{0}",
    "rcp.approx": "ptx::rough_reciprocal({0})",
}
"""What an instruction computes of floating-point numbers."""

INTEGERS = {
    "add": "{U}({0}) + {U}({1})",
    "sub": "{U}({0}) - {U}({1})",
    "mul.lo": "{U}({0}) * {U}({1})",
    "neg": "-{U}({0})",
    "mad.lo": "{U}({0}) * {U}({1}) + {U}({2})",
    "mul.hi": "ptx::high<{T}>({0}, {1})",
    "mul.wide": "{W}({0}) * {W}({1})",
    "div": "ptx::divided<{T}>({0}, {1})",
    "rem": "ptx::remainder<{T}>({0}, {1})",
    "abs": "{0} < 0 ? -{U}({0}) : {0}",
    "min": "{0} < {1} ? {0} : {1}",
    "max": "{0} > {1} ? {0} : {1}",
    "selp": "{2} ? {0} : {1}",
    "mov": "{0}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "not": "~{0}",
    "cvta.to.global": "{0}",
    "shl": "ptx::left<{T}>({0}, {1})",
    "shr": "ptx::right<{T}>({0}, {1})",
    "bfi": "ptx::inserted<{T}>({0}, {1}, {2}, {3})",
}
"""What it computes of integers and predicates. {T} is its type, {U} the same without a sign, {W} the wider one."""

OTHER_TYPES = {
    "shl": ("", "u32"),
    "shr": ("", "u32"),
    "bfi": ("", "", "u32", "u32"),
    "selp": ("", "", "pred"),
}
"""Types of operands that are not the instruction's."""

COMPARED = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
"""Comparisons; with a "u" behind, they hold for NaN, too."""

ROUNDED = {
    "rzi": "std::trunc",
    "rni": "std::nearbyint",
    "rmi": "std::floor",
    "rpi": "std::ceil",
}
"""How a number becomes a whole one."""

SPECIAL = {
    "tid": "threadIdx",
    "ntid": "blockDim",
    "ctaid": "blockIdx",
    "nctaid": "gridDim",
}
"""Registers that the hardware fills."""
