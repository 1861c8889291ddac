"""The losses of a block of models: their values, and their gradients with respect to the last output."""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.many.forms import Form, Index
from tinynet_kernels.kinds import LOSSES

Element = Callable[[Index], str]
"""Returns the expression for the number at an index."""


class Terms:
    """The numbers that the loss of one sample is made of.

    Parameters
    ----------
    form : Form
    size : Index
        Number of outputs.
    output, target : Element
        ``target`` is None for losses on class numbers: the source has the class in ``label`` then.
    put : callable
        Sets an element of the gradient, without the factor; None where only the value is wanted.
    """

    def __init__(
        self, form: Form, size: Index, output: Element, target: Element, put: Callable[[Index, str], None] | None
    ) -> None:
        self.form, self.size, self.output, self.target, self.put = form, size, output, target, put

    def each(self, body: Callable[[Index], None]) -> None:
        """Write ``body`` for each output."""
        self.form.each(self.size, body)


def loss(kind: str, parameter: str, terms: Terms) -> None:
    """Write the loss of one sample: its value goes to ``value``, its gradient to where the terms put it."""
    if LOSSES[kind].elementwise:
        _elementwise(kind, parameter, terms)
    else:
        _ROWWISE[kind](terms)


def _elementwise(kind: str, parameter: str, terms: Terms) -> None:
    form = terms.form

    def body(k: Index) -> None:
        form(
            f'v, slope = losses_of.loss("{kind}", {terms.output(k)}, {terms.target(k)}, {parameter})',
            "value = value + v",
        )
        if terms.put is not None:
            terms.put(k, "slope")

    form(f"value = {form.zeros()}")
    terms.each(body)


def _exponentials(terms: Terms) -> None:
    """Write the largest logit to ``peak``, and the sum of the exponentials relative to it to ``total_e``."""
    form = terms.form

    def largest(k: Index) -> None:
        form(f"v = {terms.output(k)}", "peak = select(v > peak, v, peak)")

    form(f"peak = {terms.output(0)}")
    terms.each(largest)
    form(f"total_e = {form.zeros()}")
    terms.each(lambda k: form(f"total_e = total_e + exp({terms.output(k)} - peak)"))


def _cross_entropy_index(terms: Terms) -> None:
    """``-log softmax(z)_c``, and ``softmax(z) - e_c``."""
    form = terms.form
    _exponentials(terms)
    form("value = log(total_e)")

    def body(k: Index) -> None:
        form(f"v = {terms.output(k)} - peak", f"value = value - select(label == {k}, v, zero)")
        if terms.put is not None:
            terms.put(k, f"(exp(v) / total_e - select(label == {k}, one, zero))")

    terms.each(body)


def _cross_entropy(terms: Terms) -> None:
    """``-sum_j t_j log softmax(z)_j``, whose gradient is ``softmax(z) * sum(t) - t``."""
    form = terms.form
    _exponentials(terms)
    form(f"total_t = {form.zeros()}")
    terms.each(lambda k: form(f"total_t = total_t + {terms.target(k)}"))
    form("value = log(total_e) * total_t")

    def body(k: Index) -> None:
        form(f"v = {terms.output(k)} - peak", f"t = {terms.target(k)}", "value = value - t * v")
        if terms.put is not None:
            terms.put(k, "(exp(v) / total_e * total_t - t)")

    terms.each(body)


def _cross_entropy_probabilities_index(terms: Terms) -> None:
    """``-log p_c``, the logarithm at least -100; where it is clamped the gradient is 0."""
    form = terms.form
    form(f"wanted = {form.zeros()}")
    terms.each(lambda k: form(f"wanted = select(label == {k}, {terms.output(k)}, wanted)"))
    form('value, slope = losses_of.loss("cross_entropy_probabilities", wanted, one, zero)')
    if terms.put is not None:
        put = terms.put
        terms.each(lambda k: put(k, f"select(label == {k}, slope, zero)"))


_ROWWISE: dict[str, Callable[[Terms], None]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_index": _cross_entropy_index,
    "cross_entropy_probabilities_index": _cross_entropy_probabilities_index,
}
