"""Which fused plan trains a program on a GPU: one table of tiers, tried from top to bottom.

All thresholds are estimates from the hardware's published figures, to be measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tinynet_kernels.cuda.fused.shapes import (
    WARPS_TOGETHER,
    Limits,
    graph_shape,
    persistent_shape,
    registers_shape,
    spread_shape,
    warp_shape,
    warps_together,
)
from tinynet_kernels.network import Network

from tinynet.base.checks import member
from tinynet.base.frozen import dataclass

ENVIRONMENT = "TINYNET_GPU_TIER"
"""The environment variable that asks for a tier by name: for tests and measurements."""

SAMPLE_SECONDS = 0.8e-6
"""A sample's way through a network of one thread. Estimate: some 500 instructions, each waiting for the one before."""

UPDATE_SECONDS = 4e-6
"""An update of a small network by a block. Estimate: about 8 barriers, and shared memory between them."""

BLOCKS_TOGETHER = 16
"""Blocks of a multiprocessor that train small networks without slowing one another. Estimate: 64 threads each."""

WARP_ROWS = 16
"""Fewest rows of a tile with which a warp for each model pays; and a multiprocessor must have room for a dozen models.

Estimate, with P parameters, L layers and batches of B. An update is P B / 10 multiply-adds of a warp's lanes, half as
many loads from shared memory, P / 32 changes of parameters in some 30 instructions each, and 300 L instructions for
indices, activations and barriers: 0.2 P B + P + 300 L. A block of four warps has the last term in each of them, and
loads twice as often, because its threads take 2 rows of a column where lanes take 8. A multiprocessor has registers for
12 warps, whatever they do, and each of them has an instruction ready every 7 cycles, which makes fewer than 2 in a
cycle where 4 could be. So 12 models with a warp each do 12 updates in the time of 0.2 P B + P + 300 L instructions, and
3 with a block each as many in that of 0.2 P B + P + 1200 L: for 8-16-16-1 and batches of 10 a warp is twice as fast,
for 1,500 parameters 1.5 times. Where shared memory has room for 8 models only, it is not faster beyond 1,500
parameters; with room for 4 never. On an H100 each of 12 has 19 kB: 1,000 parameters with Adam. Tiles of fewer rows than
these make 300 L that much longer.
"""

BLOCK_FLOPS = 1e11
"""Floating-point operations a second of a single block. Estimate: a quarter of a multiprocessor's peak."""

BLOCK_SECONDS = 8e-6
"""Longest update that one block should make alone. Estimate: two launches in a graph, which spread the work, take 5."""

SPREAD_PARAMETERS_A_ROW = 1000
"""Parameters for which a row of the batch is work enough for reading them anew. Estimate: a few rows for each read."""


GRAPH_FLOPS = 1e9
"""Most floating-point operations of an update that our own products should make. Estimate: they take 100 us for it, and
some thirty launches from Python as long; beyond it, cuBLAS is the quicker one."""


MODEL_FLOPS = 1e10
"""Most floating-point operations of an update of one model for which many should be taken together. Estimate: it takes
200 us, as long as the launches from Python; beyond it, a model keeps the device busy by itself."""


@dataclass(frozen=True)
class Case:
    """What there is to train, and on what."""

    network: Network
    n_models: int
    batch: int
    limits: Limits
    precision: str = "float32"

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of a model."""
        return sum((layer.n_in + layer.bias) * layer.n_out for layer in self.network.layers if layer.kind == "linear")


@dataclass(frozen=True)
class Tier:
    """A way to train.

    Attributes
    ----------
    name : str
    what : str
        How it works, for ``plan.description``.
    can : callable
        Tells whether a case can be trained so.
    should : callable
        Tells whether it should, if nothing above it in the table could do it better.
    any_precision : bool
        Whether its products can be in TF32 and bfloat16; else they are in the model's dtype.
    """

    name: str
    what: str
    can: Callable[[Case], bool]
    should: Callable[[Case], bool]
    any_precision: bool = False


def _registers_pay(case: Case) -> bool:
    # A thread takes the samples of a batch one by one; blocks take them together, but only so many fit on the device.
    waves = max(1.0, case.n_models / (case.limits.multiprocessors * BLOCKS_TOGETHER))
    return case.n_models >= 32 and case.batch * SAMPLE_SECONDS < UPDATE_SECONDS * waves


def _warps_pay(case: Case) -> bool:
    shape = warp_shape(case.network, case.n_models, case.batch, case.limits)
    return (
        shape is not None
        and shape.moments_shared
        and shape.rows >= min(case.batch, WARP_ROWS)
        and warps_together(shape) >= WARPS_TOGETHER
    )


def _block_pays(case: Case) -> bool:
    seconds = 6 * case.n_parameters * case.batch / BLOCK_FLOPS
    return case.n_models > 1 or seconds <= BLOCK_SECONDS


def _spreading_pays(case: Case) -> bool:
    # Every block reads all parameters for each update, and writes as many gradients.
    return case.batch >= 8 * case.n_parameters / SPREAD_PARAMETERS_A_ROW


def _launches_count(case: Case) -> bool:
    return 6 * case.n_parameters * case.batch <= GRAPH_FLOPS


def _products_are_small(case: Case) -> bool:
    return 6 * case.n_parameters * case.batch <= MODEL_FLOPS


def _has_parameters(case: Case) -> bool:
    return case.n_parameters > 0


LARGE = Tier(
    "large",
    "products by cuBLAS, one pass for all that lies between",
    lambda case: case.n_models == 1,
    lambda case: True,
    any_precision=True,
)
"""With products in TF32 and bfloat16, if asked for. It takes one model of any size."""

BATCHED = Tier(
    "batched",
    "products of all models at once by cuBLAS, one pass for all that lies between",
    lambda case: True,
    lambda case: case.n_models > 1 and _products_are_small(case),
    any_precision=True,
)
"""What the large tier is to one model, this one is to the models of an ensemble."""

TIERS: tuple[Tier, ...] = (
    Tier(
        "registers",
        "whole epochs in one launch, a thread for each model",
        lambda case: (
            _has_parameters(case) and registers_shape(case.network, case.n_models, case.batch, case.limits) is not None
        ),
        _registers_pay,
    ),
    Tier(
        "warp",
        "whole epochs in one launch, a warp for each model",
        lambda case: (
            _has_parameters(case) and warp_shape(case.network, case.n_models, case.batch, case.limits) is not None
        ),
        _warps_pay,
    ),
    Tier(
        "persistent",
        "whole epochs in one launch, a block for each model",
        lambda case: (
            _has_parameters(case) and persistent_shape(case.network, case.n_models, case.batch, case.limits) is not None
        ),
        _block_pays,
    ),
    Tier(
        "spread",
        "the rows of a batch shared by all multiprocessors, many updates in one CUDA graph",
        lambda case: (
            _has_parameters(case)
            and case.n_models == 1
            and spread_shape(case.network, case.batch, case.limits) is not None
        ),
        _spreading_pays,
    ),
    Tier(
        "graph",
        "a kernel for each product, many updates in one CUDA graph",
        lambda case: _has_parameters(case) and case.n_models == 1 and graph_shape(case.network, case.batch) is not None,
        _launches_count,
    ),
    BATCHED,
    LARGE,
)
"""Best first. Many models that fit none train one after the other, each in a tier of its own."""

NAMES = (*(tier.name for tier in TIERS), "loop")
"""What ``TINYNET_GPU_TIER`` may ask for: "loop" is kernel by kernel, with an update apart from the products."""

IN_PRECISION = {"tf32": "cuBLAS in TF32", "bf16": "cuBLAS in bfloat16"}
"""What descriptions say of products whose factors may be rounded, by precision."""


def described(reason: str | None, precision: str, tier: Tier = LARGE) -> str:
    """Return the description of a plan that computes products by cuBLAS.

    Parameters
    ----------
    reason : str or None
        Why the program runs kernel by kernel; None: because it is large.
    precision : {"float32", "tf32", "bf16"}
    tier : Tier
        The one whose plan this is, where there is no reason.

    Examples
    --------
    >>> described(None, "tf32")
    'large: cuBLAS in TF32, one pass for all that lies between'
    >>> described("custom layer Foo", "bf16")
    'loop: custom layer Foo; cuBLAS in bfloat16'
    """
    how = IN_PRECISION.get(precision)
    if reason is not None:
        return f"loop: {reason}" + (f"; {how}" if how else "")
    what = tier.what.replace("products by cuBLAS", how).replace("by cuBLAS,", f"by {how},") if how else tier.what
    return f"{tier.name}: {what}"


def wanted() -> str | None:
    """Return the tier that ``TINYNET_GPU_TIER`` asks for; None if it asks for none.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    name = os.environ.get(ENVIRONMENT, "").strip().lower()
    return member(ENVIRONMENT, name, NAMES) if name else None


def check_precision(precision: str) -> None:
    """Make sure that the tier that is asked for, if one is, can compute in a precision.

    Raises
    ------
    ValueError
        If ``TINYNET_GPU_TIER`` asks for one that multiplies in the model's dtype.
    """
    name = wanted()
    if precision != "float32" and name in {tier.name for tier in TIERS if not tier.any_precision}:
        raise ValueError(
            f"{ENVIRONMENT}={name} asks for a tier whose products are the model's dtype; got precision={precision!r}, "
            f"which needs cuBLAS. Unset the variable, use {ENVIRONMENT}=large, or leave precision out."
        )


def choose(case: Case) -> Tier | None:
    """Return the tier for a case; None is kernel by kernel.

    Raises
    ------
    ValueError
        If ``TINYNET_GPU_TIER`` asks for a tier that cannot train this network.
    """
    name = wanted()
    if name is None:
        tiers = (tier for tier in TIERS if tier.any_precision or case.precision == "float32")
        return next((tier for tier in tiers if tier.should(case) and tier.can(case)), None)
    tier = next((tier for tier in TIERS if tier.name == name), None)
    if tier is not None and not tier.can(case):
        raise ValueError(
            f"{ENVIRONMENT}={name} asks for {tier.what}, but this network does not fit that. Unset the variable, or "
            "make the network smaller."
        )
    return tier
