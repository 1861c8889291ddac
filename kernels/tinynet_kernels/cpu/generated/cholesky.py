"""Solutions of the normal equations by Cholesky's factors, columns of these side by side with the rows in the lanes.

A row of a matrix here is a column of the lower triangle, which begins at the diagonal; what stands before that is never
read. Four columns are made at a time, from the diagonal down: what all columns to the left take away from them, then
what they take from each other (left-looking: Golub and Van Loan, 2013, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels.cpu.generated.elementary import sqrt
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.normal import TILE
from tinynet_kernels.cpu.generated.samples import totals_of


class _Solver:
    """Writes the solution of one model's equations.

    The right side is one more row below the last parameter, so that forward substitution is part of the factorisation.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        self.factor, self.shift, self.pivots, self.x = (frame.place(i) for i in range(4))
        self.n, self.line = frame.size(4), frame.size(5)
        self.lanes, self.real = frame.lanes, frame.real
        self.most = 4 if frame.module.target.registers == 32 else 2
        self.zero = self.code.constant(frame.row, 0.0)
        # Columns of the factor; those behind the last parameter mean nothing.
        self.columns = (self.n + TILE) / TILE * TILE

    def at(self, base: Value, column: Value, row: Value) -> Value:
        return self.code.at(self.code.at(base, column * self.line), row, self.real)

    # -- the factor --------------------------------------------------------------------------------------------------

    def factorise(self, matrix: Value, diagonal: Value) -> None:
        """Write the factor of a matrix with something added to its diagonal; NaN where there is none."""
        code = self.code

        def copy(i: Value) -> None:
            code.store(code.load(code.at(diagonal, i, self.real), self.real), code.at(self.shift, i, self.real))

        code.loop(0, self.n, 1, copy)
        code.loop(0, self.columns, TILE, lambda j: self.block(matrix, j))

    def block(self, matrix: Value, j: Value) -> None:
        """Make the columns from ``j`` on, as many as a tile has."""
        code, lanes = self.code, self.lanes
        head = max(1, TILE // lanes)
        top = self.reduced(matrix, j, j, head)
        # Within the square on the diagonal: the numbers of column c in row r.
        square = {
            (r, c): code.extract(top[c][r // lanes], r % lanes) for r in range(TILE) for c in range(TILE) if r >= c
        }
        inverses, shares = [], {}
        for c in range(TILE):
            shift = code.load(code.at(self.shift, j + c, self.real), self.real)
            inverses.append(1.0 / (square[c, c] + shift))
            for d in range(c + 1, TILE):
                # What is taken from column d for each unit of column c.
                shares[d, c] = square[d, c] * inverses[c]
                for r in range(d, TILE):
                    square[r, d] = square[r, d] - shares[d, c] * square[r, c]
        roots = [sqrt(inverse) for inverse in inverses]
        for c, root in enumerate(roots):
            code.store(root, code.at(self.pivots, j + c, self.real))

        def finish(columns: Sequence[Sequence[Value]], i: Value) -> None:
            whole = [list(column) for column in columns]
            for c in range(TILE):
                for d in range(c + 1, TILE):
                    share = code.spread(shares[d, c])
                    whole[d] = [a - share * b for a, b in zip(whole[d], whole[c], strict=True)]
            for c, root in enumerate(roots):
                scale = code.spread(root)
                for v, value in enumerate(whole[c]):
                    code.store(scale * value, code.at(self.at(self.factor, j + c, i), v * self.frame.vector_bytes))

        def strips(count: int) -> Callable[[Value], None]:
            return lambda i: finish(self.reduced(matrix, j, i, count), i)

        finish(top, j)
        first, stop = j + head * lanes, self.n + 1
        whole = self.most * lanes
        # As many strips of several registers as there are registers with a row that counts.
        registers = (stop - first + (lanes - 1)) / lanes
        middle = first + registers / self.most * whole
        middle = code.select(code.compare(">", registers, 0), middle, first)
        code.loop(first, middle, whole, strips(self.most))
        code.loop(middle, stop, lanes, strips(1))

    def reduced(self, matrix: Value, j: Value, i: Value, count: int) -> list[list[Value]]:
        """Return rows from ``i`` on of the columns from ``j`` on, without what the columns to the left take away."""
        code, row, step = self.code, self.frame.row, self.frame.vector_bytes

        def add(_: Value, left: Value, across: Value, *sums: Value) -> list[Value]:
            known = [code.load(code.at(left, v * step), row) for v in range(count)]
            found = []
            for c in range(TILE):
                factor = code.spread(code.load(code.at(across, c, self.real), self.real))
                found += [code.fma(factor, known[v], sums[c * count + v]) for v in range(count)]
            return [code.at(left, self.line), code.at(across, self.line), *found]

        ways = [code.at(self.factor, place, self.real) for place in (i, j)]
        _, _, *sums = code.loop(0, j, 1, add, *ways, *([self.zero] * (TILE * count)))
        columns = [self.at(matrix, j + c, i) for c in range(TILE)]
        return [
            [code.load(code.at(column, v * step), row) - sums[c * count + v] for v in range(count)]
            for c, column in enumerate(columns)
        ]

    # -- another right side ------------------------------------------------------------------------------------------

    def reduce(self, right: Value) -> None:
        """Solve with the factor, and put the result where the way back finds it: below the last parameter."""
        code = self.code

        def copy(i: Value) -> None:
            code.store(code.load(code.at(right, i, self.real), self.real), code.at(self.x, i, self.real))

        code.loop(0, self.n, 1, copy)

        def column(j: Value) -> None:
            code.store(self.eliminate(j), self.at(self.factor, j, self.n))

        code.loop(0, self.n, 1, column)

    def eliminate(self, j: Value) -> Value:
        """Return an element of what the factor's inverse makes of ``x``, and take it out of those behind it."""
        code = self.code
        value = code.load(code.at(self.x, j, self.real), self.real) * code.load(
            code.at(self.pivots, j, self.real), self.real
        )
        spread = code.spread(value)

        def subtract(i: Value) -> None:
            place = code.at(self.x, i, self.real)
            taken = spread * code.load(self.at(self.factor, j, i), self.frame.row)
            code.store(code.load(place, self.frame.row) - taken, place)

        code.loop(j + 1, self.n, self.lanes, subtract)
        return value

    def square_of_column(self, j: Value) -> Value:
        """Return the square of a column of the factor's inverse: it begins at the diagonal."""
        code, zero = self.code, self.code.constant(self.real, 0.0)
        code.loop(j, self.n, 1, lambda i: code.store(zero, code.at(self.x, i, self.real)))
        code.store(code.constant(self.real, 1.0), code.at(self.x, j, self.real))

        def add(i: Value, total: Value) -> list[Value]:
            value = self.eliminate(i)
            return [code.fma(value, value, total)]

        return code.loop(j, self.n, 1, add, zero)[0]

    # -- the way back ------------------------------------------------------------------------------------------------

    def substitute(self, out: Value) -> None:
        """Solve with the transpose of the factor, a tile of rows at a time, from the last one up."""
        code, lanes, step = self.code, self.lanes, self.frame.vector_bytes
        clear = (self.columns + lanes) / lanes * step
        code.loop(0, clear, step, lambda s: code.store(self.zero, code.at(self.x, s)))
        blocks = self.columns / TILE

        def block(count: Value) -> None:
            i = (blocks - 1 - count) * TILE
            ways = [code.at(self.factor, (i + r) * self.line) for r in range(TILE)]

            def add(k: Value, *sums: Value, mask: Value | None = None) -> list[Value]:
                x = code.load(code.at(self.x, k, self.real), self.frame.row)
                known = [code.load(code.at(way, k, self.real), self.frame.row) for way in ways]
                if mask is not None:
                    known = [self.frame.kept(mask, one) for one in known]
                return [code.fma(x, one, total) for one, total in zip(known, sums, strict=True)]

            def rest(k: Value, *sums: Value) -> list[Value]:
                return add(k, *sums, mask=self.frame.mask(self.n - k))

            start = i + TILE
            whole = start + (self.n - start) / lanes * lanes
            sums = code.loop(start, whole, lanes, add, *([self.zero] * TILE))
            sums = code.loop(whole, self.n, lanes, rest, *sums)
            # As many totals as there are lanes can be had at once.
            rows = [*sums, *([self.zero] * (-TILE % lanes))]
            groups = [totals_of(rows[g : g + lanes]) for g in range(0, len(rows), lanes)]
            totals = [code.extract(groups[r // lanes], r % lanes) for r in range(TILE)]
            found: dict[int, Value] = {}
            # Behind the last parameter there is nothing, whatever stands there.
            there = [code.compare("<", i + r, self.n) for r in range(TILE)]
            for r in reversed(range(TILE)):
                own = code.load(code.at(ways[r], self.n, self.real), self.real) - totals[r]
                for q, value in found.items():
                    held = code.load(code.at(ways[r], i + q, self.real), self.real)
                    own = own - code.select(there[q], held, 0.0) * value
                value = own * code.load(code.at(self.pivots, i + r, self.real), self.real)
                found[r] = code.select(there[r], value, 0.0)
                code.store(found[r], code.at(self.x, i + r, self.real))

        code.loop(0, blocks, 1, block)

        def copy(i: Value) -> None:
            code.store(code.load(code.at(self.x, i, self.real), self.real), code.at(out, i, self.real))

        code.loop(0, self.n, 1, copy)


def solve(frame: Frame) -> None:
    """Solve ``(A + diag) s = g`` for a range of items; NaN where that is not positive definite.

    Arguments: scratch for the factor, for a diagonal, for the inverse pivots and for a solution; parameters; bytes from
    a row of a matrix to the next. ``A`` is the upper triangle and ``g`` the column behind the last parameter.
    """
    code, real = frame.code, frame.real
    matrices, diagonals, out = (frame.pointer(name) for name in ("gradients", "moments", "out"))
    solver = _Solver(frame)

    def item(i: Value) -> None:
        solver.factorise(code.at(matrices, solver.columns * solver.line * i), code.at(diagonals, solver.n * i, real))
        solver.substitute(code.at(out, solver.n * i, real))

    code.loop(frame.whole("first_item"), frame.whole("last_item"), 1, item)


def solve_again(frame: Frame) -> None:
    """Solve for another right side, which lies where a diagonal would, with the factor that ``solve`` has left."""
    solver = _Solver(frame)
    solver.reduce(frame.pointer("moments"))
    solver.substitute(frame.pointer("out"))


def trace(frame: Frame) -> None:
    """Write the trace of the inverse, with the factor that ``solve`` has left: the squares of the factor's inverse."""
    solver, code = _Solver(frame), frame.code

    def column(j: Value, total: Value) -> list[Value]:
        return [total + solver.square_of_column(j)]

    (total,) = code.loop(0, solver.n, 1, column, code.constant(frame.real, 0.0))
    code.store(total, frame.pointer("out"))


KERNELS = [Kernel("solve", solve, spills=True), Kernel("solve_again", solve_again), Kernel("trace", trace)]
