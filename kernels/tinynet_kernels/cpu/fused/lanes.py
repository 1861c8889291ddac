"""Moving numbers between memory and lanes, and reductions over lanes."""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from tinynet_kernels.cpu.generic import FLAGS, FLOATS, Lanes, broadcast, instruction, unary

_WORD = ir.IntType(32)


@cache
def native(dtype: str) -> int:
    """Return how many numbers of a dtype a register of this processor holds, as Numba compiles for it."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    register = next((size for name, size in (("+avx512f", 64), ("+avx", 32)) if name in features), 16)
    return register // (4 if dtype == "float32" else 8)


def _literal(kind: Any) -> int:
    assert isinstance(kind, types.IntegerLiteral), "the number of lanes is part of the type"
    return int(kind.literal_value)


def _adjacent(stride: Any) -> bool:
    return isinstance(stride, types.IntegerLiteral) and stride.literal_value == 1


def _converted(context: Any, builder: Any, source: Lanes, target: Lanes, value: Any) -> Any:
    """Return lanes in another floating type."""
    if source.dtype == target.dtype:
        return value
    kind = context.get_value_type(target)
    wider = target.dtype.bitwidth > source.dtype.bitwidth
    return builder.fpext(value, kind) if wider else builder.fptrunc(value, kind)


@instruction
def load(typing_context: Any, like: Any, array: Any, offset: Any, stride: Any, used: Any, count: Any) -> Any:
    """Return ``array[offset], array[offset + stride], ...`` in the first ``used`` of ``count`` lanes, else 0.

    The lanes have the dtype of the array ``like``; numbers of another type are converted.
    """
    lanes, n_used = Lanes(like.dtype, _literal(count)), _literal(used)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[1]).data
        at = context.cast(builder, arguments[2], offset, types.intp)
        step = context.cast(builder, arguments[3], stride, types.intp)
        vector = context.get_value_type(lanes)
        if _adjacent(stride) and n_used == lanes.count and array.dtype in FLOATS:
            source = Lanes(array.dtype, lanes.count)
            pointer = builder.bitcast(builder.gep(data, [at]), context.get_value_type(source).as_pointer())
            return _converted(context, builder, source, lanes, builder.load(pointer, align=array.dtype.bitwidth // 8))
        value = ir.Constant(vector, None)
        for lane in range(n_used):
            element = context.unpack_value(builder, array.dtype, builder.gep(data, [at]))
            number = context.cast(builder, element, array.dtype, lanes.dtype)
            value = builder.insert_element(value, number, _WORD(lane))
            at = builder.add(at, step)
        return value

    return lanes(like, array, offset, stride, used, count), generate


@instruction
def store(typing_context: Any, value: Any, array: Any, offset: Any, stride: Any, used: Any) -> Any:
    """Write the first ``used`` lanes to ``array[offset], array[offset + stride], ...``."""
    n_used = _literal(used)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[1]).data
        at = context.cast(builder, arguments[2], offset, types.intp)
        step = context.cast(builder, arguments[3], stride, types.intp)
        if _adjacent(stride) and n_used == value.count and array.dtype == value.dtype:
            pointer = builder.bitcast(builder.gep(data, [at]), arguments[0].type.as_pointer())
            builder.store(arguments[0], pointer, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()
        for lane in range(n_used):
            builder.store(builder.extract_element(arguments[0], _WORD(lane)), builder.gep(data, [at]))
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.none(value, array, offset, stride, used), generate


@instruction
def gather(typing_context: Any, like: Any, array: Any, places: Any, scale: Any, shift: Any, count: Any) -> Any:
    """Return the elements ``places[lane] * scale + shift`` of ``array``, taken flat, as lanes of ``like``'s dtype."""
    lanes = Lanes(like.dtype, _literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[1]).data
        rows = context.make_array(places)(context, builder, arguments[2]).data
        factor, offset = (
            context.cast(builder, argument, kind, types.intp)
            for argument, kind in zip(arguments[3:5], (scale, shift), strict=True)
        )
        value = ir.Constant(context.get_value_type(lanes), ir.Undefined)
        for lane in range(lanes.count):
            row = builder.load(builder.gep(rows, [ir.IntType(64)(lane)]))
            at = builder.add(builder.mul(row, factor), offset)
            element = context.unpack_value(builder, array.dtype, builder.gep(data, [at]))
            number = context.cast(builder, element, array.dtype, lanes.dtype)
            value = builder.insert_element(value, number, _WORD(lane))
        return value

    return lanes(like, array, places, scale, shift, count), generate


@instruction
def full(typing_context: Any, like: Any, value: Any, count: Any) -> Any:
    """Return a number, or lanes, as lanes of ``like``'s dtype."""
    lanes = Lanes(like.dtype, _literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if isinstance(value, Lanes):
            return _converted(context, builder, value, lanes, arguments[1])
        number = context.cast(builder, arguments[1], value, lanes.dtype)
        return broadcast(builder, number, context.get_value_type(lanes))

    return lanes(like, value, count), generate


@instruction
def every(typing_context: Any, mask: Any) -> Any:
    """Return whether a mask is true in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(mask.count)
        return builder.icmp_unsigned("==", builder.bitcast(arguments[0], bits), bits(2**mask.count - 1))

    return types.boolean(mask), generate


@instruction
def zeros(typing_context: Any, array: Any, count: Any) -> Any:
    """Return lanes of zeros, of the array's dtype."""
    lanes = Lanes(array.dtype, _literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(lanes), None)

    return lanes(array, count), generate


@instruction
def put(typing_context: Any, value: Any, index: Any, scalar: Any) -> Any:
    """Return the lanes with one of them replaced."""
    position = _literal(index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        new = context.cast(builder, arguments[2], scalar, value.dtype)
        return builder.insert_element(arguments[0], new, _WORD(position))

    return value(value, index, scalar), generate


def _halve(builder: Any, value: Any) -> tuple[Any, Any]:
    """Return the lower and the upper half of the lanes."""
    half = value.type.count // 2
    undefined = ir.Constant(value.type, ir.Undefined)

    def part(start: int) -> Any:
        places = ir.Constant(ir.VectorType(_WORD, half), list(range(start, start + half)))
        return builder.shuffle_vector(value, undefined, places)

    return part(0), part(half)


@instruction
def total(typing_context: Any, value: Any) -> Any:
    """Return the sum of all lanes, added in pairs."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (rest,) = arguments
        while rest.type.count > 1:
            rest = builder.fadd(*_halve(builder, rest), flags=FLAGS)
        return builder.extract_element(rest, _WORD(0))

    return value.dtype(value), generate


@instruction
def spread(typing_context: Any, scalar: Any, like: Any) -> Any:
    """Return a number in all lanes, as many as ``like`` has."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return broadcast(builder, arguments[0], arguments[1].type)

    return like(scalar, like), generate


log = unary("log")
"""Natural logarithm of a number or of lanes, by the C library."""
