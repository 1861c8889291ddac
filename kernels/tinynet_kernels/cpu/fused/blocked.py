"""The source of fused functions for large batches of small networks: in blocks, on several threads.

A batch is cut into ``SLOTS`` ranges of rows, however many threads there are. ``part`` takes one range through the
network in blocks whose activations stay in the cache, and adds up a gradient of its own; ``finish`` adds the gradients
of the ranges, always in the same order, and makes the update. So the result is the same to the last bit on any number
of threads. Every thread calls ``run``, which takes its share of the ranges; the first one calls ``finish``.
"""

from tinynet_kernels.cpu.fused import medium, strip_pass
from tinynet_kernels.cpu.fused.writer import HEAD, SIGNATURE, Writer
from tinynet_kernels.network import Network

SLOTS = 8
"""Ranges that a batch is cut into: the most threads that can help."""

PART = (
    "parameters, gradients, buffers, x, y, sample_weight, order, e, start, n_rows, mass, slot, "
    "scratch, x_batch, y_batch, weight_batch, places, numbers"
)
"""Arguments of ``part``: ``gradients`` is the slot's own vector; it returns the slot's share of the batch's loss."""

FINISH = "parameters, gradients, slots, moments, rates, e, u, n_rows, mass, places, numbers, step"
"""Arguments of ``finish``: ``slots`` is (SLOTS, n_parameters). It returns the penalty's share of the batch's loss."""


TEAM = "slots, values, counters, thread, n_threads"
"""What ``run`` takes beside the arguments of every fused function. ``values`` holds the loss of each range, and
``counters`` how far each thread is, ``team.LINE`` numbers apart."""


def source_of(network: Network) -> tuple[str, list[float]]:
    """Return the source of the module with ``part``, ``finish`` and ``run``, and the settings that go with them."""
    write = Writer()
    _part(write, network)
    _finish(write, network)
    _run(write, network)
    return write.module(f"{SIGNATURE}, {TEAM}", HEAD), write.numbers


def block_rows(network: Network, batch_size: int) -> int:
    """Return how many rows to take through the network at a time; as many as the batch has if they need no cutting."""
    rows = medium.block_rows(network, batch_size)
    if rows < batch_size and strip_pass.fits(network):
        return strip_pass.block_rows(network, -(-batch_size // SLOTS))
    return rows


def _part(write: Writer, network: Network) -> None:
    write.define("part", PART)
    layout = medium.Layout(network.layers)
    write("block, total = places[1], 0.0")
    medium.name_parameters(write, network.layers, layout, gradients=True)
    in_strips = strip_pass.fits(network)
    if in_strips:
        strip_pass.name_scratch(write, network, layout)
    else:
        medium.name_scratch(write, layout)
    write("gradients[:] = 0")
    write(f"low, high = start + n_rows * slot // {SLOTS}, start + n_rows * (slot + 1) // {SLOTS}")
    write("for first in range(low, high, block):")
    write.depth += 1
    write("rows = min(block, high - first)")
    if in_strips:
        strip_pass.pass_rows(write, network)
    else:
        medium.pass_rows(write, network, mode="add")
    write.depth -= 1
    write("return total")


def _finish(write: Writer, network: Network) -> None:
    write.define("finish", FINISH)
    write("for i in range(gradients.size):")
    write("    gradients[i] = slots[0, i]")
    write(f"    for s in range(1, {SLOTS}):")
    write("        gradients[i] += slots[s, i]")
    write("total = 0.0")
    if network.loss.l2:
        medium.name_parameters(write, network.layers, medium.Layout(network.layers), gradients=True)
    medium.penalize(write, network, medium.weights_of(network.layers))
    medium.update(write, network)
    write("return total")


def _run(write: Writer, network: Network) -> None:
    write.define("run", "")
    write("batch = places[0]", "together = 0")
    write("n_visits = order.shape[1]" if network.ordered else "n_visits = x.shape[0]")
    write("for e in range(rates.shape[0]):")
    write.depth += 1
    write("total = 0.0", "for u in range((n_visits + batch - 1) // batch):")
    write.depth += 1
    write("start = u * batch", "n_rows = min(batch, n_visits - start)")
    medium.name_mass(write, network)
    write(f"for slot in range(thread, {SLOTS}, n_threads):")
    write(f"    values[slot * team.LINE] = part({PART.replace('gradients', 'slots[slot]')})")
    write("step, together = step + 1, together + 1", "team.gather(counters, thread, n_threads, together)")
    write("if thread == 0:")
    write.depth += 1
    write(f"for slot in range({SLOTS}):", "    total += values[slot * team.LINE]", f"total += finish({FINISH})")
    write.depth -= 1
    write("team.release(counters, thread, together)")
    write.depth -= 1
    write("if thread == 0:", f"    losses[e, 0] = {medium.epoch_value(write, network)}")
