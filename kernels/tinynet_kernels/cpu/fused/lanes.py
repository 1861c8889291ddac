"""Moving numbers between memory and lanes, and reductions over lanes."""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import models, register_model

from tinynet_kernels.cpu.generic import FLAGS, FLOATS, Lanes, Mask, broadcast, instruction, unary

_WORD = ir.IntType(32)
_INDEX = ir.IntType(64)


@cache
def native(dtype: str) -> int:
    """Return how many numbers of a dtype a register of this processor holds, as Numba compiles for it."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    register = next((size for name, size in (("+avx512f", 64), ("+avx", 32)) if name in features), 16)
    return register // (4 if dtype == "float32" else 8)


class Rows(types.Type):
    """Row numbers in the first ``used`` of ``count`` lanes."""

    def __init__(self, used: int, count: int) -> None:
        self.used, self.count = used, count
        super().__init__(f"Rows({used}, {count})")


@register_model(Rows)
class _RowsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Rows) -> None:
        super().__init__(manager, kind, ir.VectorType(_INDEX, kind.count))


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
def first(typing_context: Any, used: Any, count: Any) -> Any:
    """Return the mask that is true in the first ``used`` of ``count`` lanes."""
    mask, n_used = Mask(_literal(count)), _literal(used)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(mask), [lane < n_used for lane in range(mask.count)])

    return mask(used, count), generate


@instruction
def only(typing_context: Any, index: Any, count: Any) -> Any:
    """Return the mask that is true in lane ``index`` alone."""
    mask = Mask(_literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = ir.VectorType(ir.IntType(64), mask.count)
        lane = context.cast(builder, arguments[0], index, types.int64)
        start = builder.insert_element(ir.Constant(numbers, ir.Undefined), lane, _WORD(0))
        zeros_ = ir.Constant(ir.VectorType(_WORD, mask.count), None)
        wanted = builder.shuffle_vector(start, ir.Constant(numbers, ir.Undefined), zeros_)
        return builder.icmp_signed("==", wanted, ir.Constant(numbers, list(range(mask.count))))

    return mask(index, count), generate


@instruction
def lane(typing_context: Any, value: Any, index: Any) -> Any:
    """Return one lane as a number."""
    position = _literal(index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(arguments[0], _WORD(position))

    return value.dtype(value, index), generate


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
def peak(typing_context: Any, value: Any) -> Any:
    """Return the largest of all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (rest,) = arguments
        while rest.type.count > 1:
            low, high = _halve(builder, rest)
            rest = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(rest, _WORD(0))

    return value.dtype(value), generate


@instruction
def totals(typing_context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Return the sums of eight vectors over their lanes, in eight lanes.

    Neighbours are added in pairs, two vectors with one instruction: a third of the work of eight times ``total``.
    """
    result = Lanes(a.dtype, 8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = list(arguments)
        while vectors[0].type.count > 8:
            vectors = [builder.fadd(*_halve(builder, vector), flags=FLAGS) for vector in vectors]
        n_additions = vectors[0].type.count.bit_length() - 1
        while len(vectors) > 1:
            # With fewer than eight lanes, several vectors of sums are left in the end, and only put together.
            merge, n_additions = (_add_neighbours if n_additions else _join), max(0, n_additions - 1)
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [merge(builder, left, right) for left, right in pairs]
        return vectors[0]

    return result(a, b, c, d, e, f, g, h), generate


def _add_neighbours(builder: Any, left: Any, right: Any) -> Any:
    """Return ``l0 + l1, l2 + l3, ..., r0 + r1, ...``."""
    count = left.type.count

    def every_second(start: int) -> Any:
        places = ir.Constant(ir.VectorType(_WORD, count), list(range(start, 2 * count, 2)))
        return builder.shuffle_vector(left, right, places)

    return builder.fadd(every_second(0), every_second(1), flags=FLAGS)


def _join(builder: Any, left: Any, right: Any) -> Any:
    places = ir.Constant(ir.VectorType(_WORD, 2 * left.type.count), list(range(2 * left.type.count)))
    return builder.shuffle_vector(left, right, places)


@instruction
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``; ``b`` may be one number for all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, rest = arguments
        product = builder.fmul(left, broadcast(builder, right, left.type), flags=FLAGS)
        return builder.fadd(product, rest, flags=FLAGS)

    return c(a, b, c), generate


@instruction
def spread(typing_context: Any, scalar: Any, like: Any) -> Any:
    """Return a number in all lanes, as many as ``like`` has."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return broadcast(builder, arguments[0], arguments[1].type)

    return like(scalar, like), generate


log = unary("log")
"""Natural logarithm of a number or of lanes, by the C library."""


@instruction
def sequence(typing_context: Any, first: Any, last: Any, used: Any, count: Any) -> Any:
    """Return the row numbers ``first, first + 1, ...``, none beyond ``last``."""
    rows = Rows(_literal(used), _literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _up_to(context, builder, rows, signature.args, arguments)

    return rows(first, last, used, count), generate


@instruction
def visits(typing_context: Any, order: Any, epoch: Any, first: Any, last: Any, used: Any, count: Any) -> Any:
    """Return ``order[epoch, first], order[epoch, first + 1], ...``, none beyond ``last``."""
    rows = Rows(_literal(used), _literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(order)(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], epoch, types.intp)
        start = builder.mul(at, builder.extract_value(array.shape, 1))
        places = _up_to(context, builder, rows, signature.args[2:], arguments[2:])
        found = ir.Constant(places.type, ir.Undefined)
        for lane_ in range(rows.used):
            place = builder.add(start, builder.extract_element(places, _WORD(lane_)))
            number = context.unpack_value(builder, order.dtype, builder.gep(array.data, [place]))
            number = context.cast(builder, number, order.dtype, types.int64)
            found = builder.insert_element(found, number, _WORD(lane_))
        return found

    return rows(order, epoch, first, last, used, count), generate


def _up_to(context: Any, builder: Any, rows: Rows, kinds: Any, arguments: Any) -> Any:
    vector = ir.VectorType(_INDEX, rows.count)
    first = broadcast(builder, context.cast(builder, arguments[0], kinds[0], types.int64), vector)
    last = broadcast(builder, context.cast(builder, arguments[1], kinds[1], types.int64), vector)
    places = builder.add(first, ir.Constant(vector, list(range(rows.count))))
    return builder.select(builder.icmp_signed("<", places, last), places, last)


@instruction
def below(typing_context: Any, n: Any, count: Any) -> Any:
    """Return the mask that is true in the first ``n`` of ``count`` lanes."""
    mask = Mask(_literal(count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_INDEX, mask.count)
        bound = broadcast(builder, context.cast(builder, arguments[0], n, types.int64), vector)
        return builder.icmp_signed("<", ir.Constant(vector, list(range(mask.count))), bound)

    return mask(n, count), generate


@instruction
def column(typing_context: Any, like: Any, array: Any, rows: Any, index: Any) -> Any:
    """Return ``array[rows, index]``, or ``array[rows]`` of a 1-D array, in lanes of the dtype of the array ``like``.

    Lanes that have no row hold 0.
    """
    lanes, position = Lanes(like.dtype, rows.count), _literal(index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(array)(context, builder, arguments[1])
        value = ir.Constant(context.get_value_type(lanes), None)
        for lane_ in range(rows.used):
            at = builder.extract_element(arguments[2], _WORD(lane_))
            if array.ndim == 2:
                at = builder.mul(at, builder.extract_value(source.shape, 1))
            at = builder.add(at, _INDEX(position))
            element = context.unpack_value(builder, array.dtype, builder.gep(source.data, [at]))
            number = context.cast(builder, element, array.dtype, lanes.dtype)
            value = builder.insert_element(value, number, _WORD(lane_))
        return value

    return lanes(like, array, rows, index), generate
