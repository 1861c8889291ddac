"""The loop of Levenberg and Marquardt: equations, damped steps, and whether they help, for one model after the other.

What is decided is in two files: here, and in ``tinynet/backends/second_order/levenberg.py`` for those who decide in
Python. A model goes through all its steps before the next begins, so that what it has in hand stays in the cache.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.descent_table import NUMBERS, Words
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Code, Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER
from tinynet_kernels.descent import (
    FIRST_DECAY,
    LEAST_DAMPING,
    LEAST_SCALE,
    LEAST_SQUARES,
    MOST_CORRECTION,
    MOST_GROWTH,
    REASONS,
    STEP,
)


class _Cell:
    """A number that changes, in memory of the function."""

    def __init__(self, code: Code, kind: str) -> None:
        self.code, self.kind = code, kind
        self.place = code.op(POINTER, f"alloca {kind}, align 8")

    def get(self) -> Value:
        return self.code.load(self.place, self.kind)

    def set(self, value: Value | float) -> None:
        self.code.store(self.code.constant(self.kind, value) if not isinstance(value, Value) else value, self.place)


class _Descent:
    """Writes the loop of a model."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        code = frame.code
        words = {name: frame.size(i) for i, name in enumerate(Words._fields)}
        self.words = words
        self.kernels = {
            name: code.op(POINTER, f"inttoptr {words[name]} to ptr")
            for name in Words._fields[: Words._fields.index("n")]
        }
        self.n, self.n_parameters = words["n"], words["n_parameters"]
        self.line, self.size = words["line"], words["line"] * words["columns"]
        self.places = self.kernels["where"]
        arena = frame.pointer("arena")
        self.held = {name: code.at(arena, words[name]) for name in Words._fields[Words._fields.index("matrix") :]}
        self.results = {name: _Cell(code, DOUBLE) for name in ("damping", "stop", "made", "evidence", "effective")}
        self.damping, self.stop, self.made, self.evidence, self.effective = self.results.values()
        self.loss, self.worth = _Cell(code, DOUBLE), _Cell(code, DOUBLE)
        self.done, self.straight = _Cell(code, I64), _Cell(code, I64)

    # -- small things ------------------------------------------------------------------------------------------------

    def number(self, base: Value, i: Value | int) -> Value:
        return self.code.load(self.code.at(base, i, DOUBLE), DOUBLE)

    def put(self, base: Value, i: Value | int, value: Value) -> None:
        self.code.store(value, self.code.at(base, i, DOUBLE))

    def setting(self, name: str) -> Value:
        return self.number(self.numbers, NUMBERS.index(name))

    def has(self, name: str) -> Value:
        return self.code.compare("!=", self.setting(name), 0.0)

    def kept(self, value: Value) -> Value:
        """Return a number as the model keeps it."""
        return self.code.select(self.single, self.code.resize(self.code.resize(value, "float"), DOUBLE), value)

    def place(self, j: Value) -> Value:
        """Return where a trained parameter is among all."""
        return self.code.load(self.code.at(self.places, j, I64), I64)

    def larger(self, a: Value, b: Value | float) -> Value:
        return self.code.select(self.code.compare(">", a, b), a, b)

    def end(self, reason: str) -> None:
        self.stop.set(float(REASONS.index(reason)))

    def run(self, kernel: str, table: str) -> None:
        self.code.call(self.kernels[kernel], self.frame.context, self.kernels[table])

    # -- the loop ----------------------------------------------------------------------------------------------------

    def write(self) -> None:
        frame, code = self.frame, self.code
        names = ("parameters", "buffers", "weight", "gradients", "losses", "moments", "out")
        bases = {name: frame.pointer(name) for name in names}
        steps = {name: frame.whole(f"{name}_step") for name in names[:3]}
        first, last = frame.whole("first_item"), frame.whole("last_item")
        numbers, told, models = frame.pointer("numbers"), frame.pointer("model_losses"), frame.whole("n_members")
        n_epochs = frame.whole("n_epochs")
        for name in steps:
            frame.put(f"{name}_step", 0)
        frame.put("moments", self.held["diagonal"])
        frame.put("out", self.held["step"])

        def item(i: Value) -> None:
            for name, step in steps.items():
                frame.put(name, code.at(bases[name], step * i))
            self.parameters = frame.pointer("parameters")
            self.numbers = code.at(numbers, (self.n + len(NUMBERS)) * i, DOUBLE)
            self.report, self.single = self.setting("report"), self.has("single")
            given = self.has("given")
            matrix = code.select(given, code.at(bases["gradients"], self.size * i), self.held["matrix"])
            losses = code.select(given, code.at(bases["losses"], i, DOUBLE), self.held["losses"])
            # The column behind the last parameter.
            self.gradient = code.at(matrix, self.n, DOUBLE)
            for name, cell in self.results.items():
                cell.set(self.setting(name))
            self.made.set(0.0)

            def begin(j: Value) -> None:
                value = self.number(self.parameters, j)
                for name in ("trial", "before", "behind", "middle"):
                    self.put(self.held[name], j, value)

            code.loop(0, self.n_parameters, 1, begin)

            def epoch(e: Value) -> Value:
                frame.put("gradients", matrix)
                frame.put("losses", losses)
                code.when(code.op("i1", f"xor {given}, true"), lambda: self.sum(e, matrix, losses))
                self.loss.set(self.number(losses, 0) * self.report)
                self.matrix = matrix
                self.step(matrix, code.at(told, models * e + i, DOUBLE), n_epochs)
                # As the model keeps them between two calls: how steps are grouped into calls must not matter.
                for cell in (self.evidence, self.effective):
                    cell.set(self.kept(cell.get()))
                ended = code.compare("!=", self.stop.get(), 0.0)
                enough = code.compare(">=", self.made.get(), code.convert("sitofp", n_epochs, DOUBLE))
                return code.op("i1", f"or {ended}, {enough.name}")

            going = code.compare("==", self.stop.get(), 0.0)
            code.when(going, lambda: code.until(epoch))
            for name, cell in self.results.items():
                self.put(self.numbers, NUMBERS.index(name), cell.get())

        code.loop(first, last, 1, item)
        for name, base in bases.items():
            frame.put(name, base)
        for name, step in steps.items():
            frame.put(f"{name}_step", step)

    def sum(self, e: Value, matrix: Value, losses: Value) -> None:
        """Sum the equations, part after part, in the order in which those of threads are added up."""
        frame, code = self.frame, self.code
        size, other = self.size, code.at(matrix, self.size)
        whole = code.compare("!=", self.words["whole"], 0)

        def go_back() -> None:
            # The samples are where the last step has led them; its loss is not asked for again.
            code.when(code.compare("==", e, 0), lambda: self.run("drive_items", "values"))
            frame.put("losses", code.at(losses, 1, DOUBLE))

        self.one_item()
        code.when(whole, go_back)

        def part(p: Value) -> None:
            # What belongs to an item lies where its number says.
            there = code.select(code.compare("==", p, 0), matrix, other)
            frame.put("gradients", code.at(there, 0 - size * p))
            frame.put("first_item", p)
            frame.put("last_item", p + 1)
            self.run("drive_items", "sums")
            code.when(code.compare(">", p, 0), lambda: add(p))

        def add(p: Value) -> None:
            def register(s: Value) -> None:
                place = code.at(matrix, s)
                code.store(code.load(place, frame.row) + code.load(code.at(other, s), frame.row), place)

            code.loop(0, size, frame.vector_bytes, register)
            self.put(losses, 0, self.number(losses, 0) + self.number(losses, p))

        code.loop(0, self.words["parts"], 1, part)
        self.one_item()
        frame.put("gradients", matrix)

    def one_item(self) -> None:
        """Let kernels work on what is in hand alone."""
        self.frame.put("first_item", 0)
        self.frame.put("last_item", 1)

    def step(self, matrix: Value, told: Value, n_epochs: Value) -> None:
        """Make a step, or note why there is none. The sums are in hand."""
        code = self.code
        l2 = code.at(self.numbers, len(NUMBERS), DOUBLE)
        code.when(self.has("values"), self.weigh)
        weight_decay, marquardt = self.setting("weight_decay") + self.evidence.get(), self.has("marquardt")
        zero = code.constant(DOUBLE, 0.0)

        def prepare(j: Value, worst: Value, penalty: Value, check: Value) -> list[Value]:
            decay, held = self.number(l2, j) + weight_decay, self.number(self.parameters, self.place(j))
            there = code.at(self.gradient, j * self.line)
            slope = self.number(there, 0) + decay * held
            own = self.larger(self.number(code.at(matrix, j * self.line), j) + decay, LEAST_SCALE)
            self.put(self.held["decay"], j, decay)
            self.put(there, 0, slope)
            self.put(self.held["scale"], j, code.select(marquardt, own, 1.0))
            size = code.call_intrinsic("fabs", slope)
            return [self.larger(size, worst), code.fma(decay * held, held, penalty), check + slope * 0.0]

        worst, penalty, check = code.loop(0, self.n, 1, prepare, zero, zero, self.loss.get() * 0.0)
        self.worth.set(code.fma(0.5, penalty, self.loss.get()))
        finite = code.compare("==", check, 0.0)
        flat = code.op("i1", f"xor {code.compare('>', worst, self.setting('min_gradient'))}, true")

        def steep() -> None:
            self.one_item()
            code.until(lambda _: self.attempt(l2, told))

        def known() -> None:
            code.when(flat, lambda: self.end("gradient"), steep)

        # Steps to nowhere: whoever reads the losses, which are NaN, ends this.
        code.when(finite, known, lambda: self.made.set(code.convert("sitofp", n_epochs, DOUBLE)))

    def weigh(self) -> None:
        """Weigh squares by the evidence, as ``LevenbergMarquardtPlan`` does it, with the sources."""
        code, values, zero = self.code, self.setting("values"), self.code.constant(DOUBLE, 0.0)
        before, n = self.evidence.get(), code.convert("sitofp", self.n, DOUBLE)
        first = values * 0.9
        self.effective.set(code.select(code.compare("<", n, first), n, first))

        def from_trace() -> None:
            code.loop(0, self.n, 1, lambda j: self.put(self.held["diagonal"], j, before))
            self.one_item()
            self.run("solve", "solution")
            self.run("trace", "solution")
            found = n - before * self.number(self.held["step"], 0)
            # Where so little is added that there is no factor, it is as if nothing were known.
            self.effective.set(code.select(code.compare("==", found, found), found, self.effective.get()))

        known = code.compare(">", before, 0.0)
        code.when(known, from_trace)
        most, found = values * 0.999, self.larger(self.effective.get(), 0.0)
        self.effective.set(code.select(code.compare("<", found, most), found, most))

        def add(j: Value, total: Value) -> list[Value]:
            held = self.number(self.parameters, self.place(j))
            return [code.fma(held, held, total)]

        (squares,) = code.loop(0, self.n, 1, add, zero)
        left = self.larger(squares, LEAST_SQUARES) * (values - self.effective.get())
        said, limit = 2.0 * self.loss.get() * self.effective.get() / left, before * MOST_GROWTH
        limited = code.select(code.compare("<", limit, said), limit, said)
        self.evidence.set(code.select(known, limited, said * FIRST_DECAY))

    def attempt(self, l2: Value, told: Value) -> Value:
        """Try a step with the damping in hand; return whether this was the last attempt."""
        code = self.code
        self.done.set(1)
        over = code.compare(">", self.damping.get(), self.setting("max_damping"))
        code.when(over, lambda: self.end("damping"), lambda: self.damped(l2, told))
        # As the model keeps it between two calls: how steps are grouped into calls must not matter.
        last = code.compare("!=", self.done.get(), 0)
        self.damping.set(code.select(last, self.kept(self.damping.get()), self.damping.get()))
        return last

    def damped(self, l2: Value, told: Value) -> None:
        """Solve for a step, and try it unless it bends too much."""
        code, held, damping = self.code, self.held, self.damping.get()

        def shift(j: Value) -> None:
            decay, scale = self.number(held["decay"], j), self.number(held["scale"], j)
            self.put(held["diagonal"], j, code.fma(damping, scale, decay))

        code.loop(0, self.n, 1, shift)
        self.run("solve", "solution")
        self.straight.set(1)
        code.when(self.has("acceleration"), self.accelerate)
        code.when(code.compare("!=", self.straight.get(), 0), lambda: self.tried(l2, told), self.reject)

    def reject(self) -> None:
        """Go on with more damping."""
        self.damping.set(self.damping.get() * self.setting("increase"))
        self.done.set(0)

    def accelerate(self) -> None:
        """Add the second-order part of a step to it; note where that is too large to be trusted."""
        frame, code, held = self.frame, self.code, self.held
        zero = code.constant(DOUBLE, 0.0)

        def points(j: Value) -> None:
            place = self.place(j)
            now, part = self.number(self.parameters, place), self.number(held["step"], j) * STEP
            for name, value in (("before", now + part), ("middle", now), ("behind", now - part)):
                self.put(held[name], place, value)

        def add(j: Value, whole: Value, second: Value) -> list[Value]:
            step, correction = self.number(held["step"], j), self.number(held["correction"], j)
            self.put(held["step"], j, code.fma(0.5, correction, step))
            return [code.fma(step, step, whole), code.fma(correction, correction, second)]

        code.loop(0, self.n, 1, points)
        frame.put("losses", held["losses"])
        frame.put("gradients", held["bent"])
        self.run("drive_items", "bend")
        frame.put("gradients", self.matrix)
        frame.put("moments", held["bent"])
        frame.put("out", held["correction"])
        self.run("solve_again", "solution")
        frame.put("moments", held["diagonal"])
        frame.put("out", held["step"])
        whole, second = code.loop(0, self.n, 1, add, zero, zero)
        small = code.compare("<=", second, whole * MOST_CORRECTION**2)
        self.straight.set(code.convert("zext", small, I64))

    def tried(self, l2: Value, told: Value) -> None:
        """Look whether a step helps, and take it if it does."""
        frame, code, held = self.frame, self.code, self.held
        damping, zero = self.damping.get(), code.constant(DOUBLE, 0.0)

        def move(j: Value, whole: Value, penalty: Value) -> list[Value]:
            place = self.place(j)
            moved = self.kept(self.number(self.parameters, place) - self.number(held["step"], j))
            self.put(held["trial"], place, moved)
            square = moved * moved
            weights = [self.number(base, j) for base in (held["decay"], l2)]
            return [code.fma(one, square, total) for one, total in zip(weights, (whole, penalty), strict=True)]

        whole, penalty = code.loop(0, self.n, 1, move, zero, zero)
        frame.put("parameters", held["trial"])
        frame.put("losses", held["losses"])
        self.run("drive_items", "values")
        frame.put("parameters", self.parameters)
        value = self.number(held["losses"], 0) * self.report

        def accept() -> None:
            def copy(j: Value) -> None:
                place = self.place(j)
                self.put(self.parameters, place, self.number(held["trial"], place))

            code.loop(0, self.n, 1, copy)
            loss = code.fma(0.5, penalty, value)
            code.store(loss, told)
            self.damping.set(self.larger(damping * self.setting("decrease"), LEAST_DAMPING))
            self.made.set(self.made.get() + 1.0)
            reached = code.compare("<=", loss, self.setting("goal"))
            code.when(reached, lambda: self.end("goal"))

        code.when(code.compare("<", code.fma(0.5, whole, value), self.worth.get()), accept, self.reject)


def descend(frame: Frame) -> None:
    """Let a range of models make steps, each until it has made as many as there are epochs, or has stopped.

    The table is that of ``Words``; the context has parameters, buffers, masses, ``numbers``, and losses to be told,
    (epochs, models). A loss is written where a step was made.
    """
    _Descent(frame).write()


KERNELS = [Kernel("descend", descend)]
