"""The updates of a block of models: PyTorch's formulas, each model with settings of its own.

An update is written for one parameter; the form decides which loop it stands in. What is the same for all parameters is
written before. Whether there is momentum or decay is one for all models: a model without has the setting 0.
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.many.forms import Form, Index
from tinynet_kernels.network import Network, Setting

Element = Callable[[Index, str], None]
"""Writes the update of the parameter at an index from the expression for its gradient."""


def any_of(setting: Setting) -> bool:
    """Whether a setting may be other than 0: where each model has its own it may, whichever are trained."""
    return isinstance(setting, tuple) or bool(setting)


def is_plain(network: Network) -> bool:
    """Whether the learning rate can go into the gradient of the loss: plain gradient descent."""
    optimizer = network.optimizer
    clipped = optimizer.clip_norm is not None or optimizer.clip_value is not None
    return optimizer.kind == "sgd" and not any(map(any_of, optimizer.settings)) and not clipped


def n_moments(network: Network) -> int:
    """Return how many vectors the optimizer remembers for each parameter."""
    kind, settings = network.optimizer.kind, network.optimizer.settings
    if kind == "sgd":
        return int(any_of(settings[0]))
    if kind == "rmsprop":
        return 1 + int(any_of(settings[3])) + int(any_of(settings[4]))
    return 2


def element_of(form: Form, network: Network) -> Element:
    """Write what all parameters share, and return how to update one of them.

    In the source ``rate`` is the learning rate in float64, and ``count`` the number of the update.
    """
    if is_plain(network):
        return lambda k, g: form.put("p", k, f"{form.get('p', k)} - ({g})")
    return _UPDATES[network.optimizer.kind](form, *network.optimizer.settings)


def clip_by_value(form: Form, limit: Setting) -> Callable[[str], str]:
    """Write what bounds the gradients of each model; return how to bound one: from its expression to another."""
    bound = form.setting(limit)

    def clipped(g: str) -> str:
        form(f"g = {g}", f"g = select(g > {bound}, {bound}, g)")
        return f"select(g < -{bound}, -{bound}, g)"

    return clipped


def _sgd(form: Form, momentum: Setting, nesterov: Setting, decay: Setting) -> Element:
    form(f"step = lanes.full(like, rate, {form.lanes})")
    m, d = form.setting(momentum), form.setting(decay)

    def element(k: Index, g: str) -> None:
        form(f"q = {form.get('p', k)}", f"g = {g} + {d} * q" if any_of(decay) else f"g = {g}")
        if any_of(momentum):
            form(f"v = {m} * {form.get('m0', k)} + g")
            form.put("m0", k, "v")
            form(f"g = g + {m} * v" if nesterov else "g = v")
        form.put("p", k, "q - step * g")

    return element


def _adam(form: Form, beta1: Setting, beta2: Setting, epsilon: Setting, decay: Setting, hat: Setting) -> Element:
    d, rest = form.setting(decay), _adam_rest(form, beta1, beta2, epsilon, hat=any_of(hat))

    def element(k: Index, g: str) -> None:
        form(f"q = {form.get('p', k)}", f"g = {g} + {d} * q" if any_of(decay) else f"g = {g}")
        rest(k)

    return element


def _adamw(form: Form, beta1: Setting, beta2: Setting, epsilon: Setting, decay: Setting) -> Element:
    d, rest = form.setting(decay), _adam_rest(form, beta1, beta2, epsilon)
    form(f"keep = lanes.full(like, 1.0 - rate * {form.exact(d)}, {form.lanes})")

    def element(k: Index, g: str) -> None:
        form(f"q = {form.get('p', k)} * keep", f"g = {g}")
        rest(k)

    return element


def _adam_rest(
    form: Form, beta1: Setting, beta2: Setting, epsilon: Setting, *, hat: bool = False
) -> Callable[[Index], None]:
    """Write the correction of the bias; the powers of the betas are exponentials, which SIMD has."""
    one, two, eps = form.setting(beta1), form.setting(beta2), form.setting(epsilon)
    full = f"lanes.full(like, {{}}, {form.lanes})".format
    form(f"step = {full(f'rate / (1.0 - exp(count * {form.log(one)}))')}")
    form(f"root = {full(f'1.0 / sqrt(1.0 - exp(count * {form.log(two)}))')}")
    if hat:
        form("step = step / root", f"root = {full('1.0')}")
    form(f"new1 = {full(f'1.0 - {form.exact(one)}')}", f"new2 = {full(f'1.0 - {form.exact(two)}')}")

    def rest(k: Index) -> None:
        form(f"v = {form.get('m0', k)}", "v = v + new1 * (g - v)")
        form.put("m0", k, "v")
        form(f"h = {two} * {form.get('m1', k)} + new2 * g * g")
        form.put("m1", k, "h")
        form.put("p", k, f"q - step * (v / (sqrt(h) * root + {eps}))")

    return rest


def _rmsprop(
    form: Form, alpha: Setting, epsilon: Setting, decay: Setting, momentum: Setting, centered: Setting
) -> Element:
    a, eps, d, m = (form.setting(value) for value in (alpha, epsilon, decay, momentum))
    full = f"lanes.full(like, {{}}, {form.lanes})".format
    form(f"step = {full('rate')}", f"new = {full(f'1.0 - {form.exact(a)}')}")
    last = f"m{1 + int(any_of(momentum))}"

    def element(k: Index, g: str) -> None:
        form(f"q = {form.get('p', k)}", f"g = {g} + {d} * q" if any_of(decay) else f"g = {g}")
        form(f"h = {a} * {form.get('m0', k)} + new * g * g")
        form.put("m0", k, "h")
        if centered:
            form(f"v = {form.get(last, k)}", "v = v + new * (g - v)")
            form.put(last, k, "v")
            form("h = h - v * v", "h = select(h < 0, zero, h)")
        form(f"g = g / (sqrt(h) + {eps})")
        if any_of(momentum):
            form(f"g = g + {m} * {form.get('m1', k)}")
            form.put("m1", k, "g")
        form.put("p", k, "q - step * g")

    return element


_UPDATES: dict[str, Callable[..., Element]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop}


def clip_by_norm(form: Form, max_norm: Setting, size: Index) -> None:
    """Scale the gradients ``g`` of each model so that their 2-norm is at most ``max_norm``."""
    limit = form.exact(form.setting(max_norm))
    full = f"lanes.full(losses, {{}}, {form.lanes})".format

    def add(k: Index) -> None:
        form(f"wide = {full(form.get('grads', k))} * inverse", "squares = squares + wide * wide")

    def largest(k: Index) -> None:
        form(f"wide = abs({full(form.get('grads', k))})", "highest = select(wide <= highest, highest, wide)")

    def scale(k: Index) -> None:
        form.put("grads", k, f"{form.get('grads', k)} * shrink")

    form(f"inverse = {full('1.0')}", f"highest = {form.zeros('losses')}", f"squares = {form.zeros('losses')}")
    form.each(size, add)
    form("norm = sqrt(squares)")
    # Where squares overflow or vanish, once more with numbers that are scaled by the largest.
    form(f"usual = select(squares < inf, squares, {form.zeros('losses')}) > 1e-280")
    form("if not lanes.every(usual):")
    form.depth += 1
    form.each(size, largest)
    form(f"inverse = {full('1.0')} / select(highest > 0, highest, 1.0)", f"squares = {form.zeros('losses')}")
    form.each(size, add)
    form("norm = select(usual, norm, highest * sqrt(squares))")
    form.depth -= 1
    form(f"wide = {limit} / (norm + 1e-6)")
    form(f"shrink = lanes.full(like, select(wide >= 1.0, 1.0, wide), {form.lanes})")
    form.each(size, scale)
