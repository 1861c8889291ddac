"""Small networks of which many are trained at once: which ones, and what their code depends on."""

from __future__ import annotations

from typing import NamedTuple

from tinynet_kernels.cpu.generated.many.grids import MAX_ROWS
from tinynet_kernels.cpu.generated.small import Small, is_plain, n_parameters
from tinynet_kernels.expressions import FUNCTIONS, Expression, Term
from tinynet_kernels.network import Network

MAX_PARAMETERS = 60
"""Beyond it the code takes longer to compile than most fits take, and saves them a tenth of their time."""

MAX_PARAMETERS_SINGLE = 100
"""The same for single samples: between them the steps of a table take as long as the sums, so more is saved."""


def fits(network: Network, batch: int) -> bool:
    """Whether a network is small and plain enough, for so many samples in a batch."""
    most = MAX_PARAMETERS_SINGLE if batch == 1 else MAX_PARAMETERS
    return is_plain(network) and not network.loss.by_weight and n_parameters(network.layers) <= most


def rows_for(batch: int) -> int:
    """Return how many samples go through at a time: so that a batch takes few steps, with the rest one by one.

    Examples
    --------
    >>> [rows_for(batch) for batch in (1, 2, 7, 10, 32)]
    [1, 2, 3, 5, 4]
    """
    if batch == 1:
        return 1
    return min(range(2, min(MAX_ROWS, batch) + 1), key=lambda rows: (batch // rows + batch % rows, rows))


def is_short(term: Term) -> bool:
    """Whether a formula is but a few instructions: arithmetic, and no functions.

    Examples
    --------
    >>> from tinynet_kernels.expressions import function, symbol
    >>> z = symbol("z")
    >>> is_short(1 - z * z), is_short(function("exp", z))
    (True, False)
    """
    if not isinstance(term, Expression):
        return True
    return term.operation not in FUNCTIONS - {"abs"} and all(map(is_short, term.operands))


class Options(NamedTuple):
    """What the code depends on beside the network: as text, part of its unit's name."""

    own_order: bool
    own_weight: bool
    mean: bool
    descent: bool
    clip_value: bool
    clip_norm: bool

    def text(self) -> str:
        """Return them as text.

        Examples
        --------
        >>> Options.of(Options(True, False, True, False, False, True).text()).mean
        True
        """
        return "".join(str(int(value)) for value in self)

    @classmethod
    def of(cls, text: str) -> Options:
        """Return what ``text`` made text of."""
        return cls(*(letter == "1" for letter in text))


def work_of(net: Small) -> int:
    """Return how many numbers lie between the layers."""
    width = net.layers[0].n_in + 1 + sum(3 * layer.n_out for layer in net.layers) + net.layers[-1].n_out
    return net.batch * width
