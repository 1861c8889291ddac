"""How many blocks and threads a kernel gets.

All of it follows from the sizes of the arrays alone, and not from the device: sums are cut up in the same way on every
GPU, so that they have the same bits.
"""

from typing import Any

THREADS = 256
"""Threads of a block: enough to fill a multiprocessor with a few blocks, few enough for any kernel's registers."""

MAX_BLOCKS_YZ = 65_535
"""Most blocks along y, and along z; along x it is 2**31 - 1 (CUDA C++ Programming Guide, "Compute Capabilities").

Whatever may be more than this runs along x, or over several launches (``parts``)."""

# The threads of more blocks than this would only queue up: they loop over what is left instead.
_MAX_BLOCKS = 4096

# A launch costs as much as some thousands of additions: what is little is added up by one block, in one launch.
_SUM_PER_THREAD = 16
_ROWS_PER_GROUP = 4
_COLUMN_SUM_PER_THREAD = 32
_MAX_SUMS = 512

# A lane of a group takes this many columns before there are more lanes.
_COLUMNS_PER_LANE = 4
_WARP = 32

# Sixteen bytes are the most that a thread moves at once.
_VECTOR_BYTES = 16

Grid = tuple[tuple[int, ...], tuple[int, ...]]
"""Numbers of blocks, and of threads in each."""


def over_vector(n: int) -> Grid:
    """Return a grid with a thread for each of ``n`` elements, or for every few of them."""
    return (min(_blocks(n, THREADS), _MAX_BLOCKS),), (THREADS,)


def over_matrix(rows: int, columns: int) -> Grid:
    """Return a grid whose x runs along the columns and y along the rows."""
    return _matrix(rows, columns, 1, _MAX_BLOCKS)


def over_summed_vector(n: int) -> Grid:
    """Return a grid whose blocks add up the elements that they take: a single one for few elements."""
    return (min(_blocks(n, THREADS * _SUM_PER_THREAD), _MAX_SUMS),), (THREADS,)


def over_summed_matrix(rows: int, columns: int) -> Grid:
    """Return a grid like that of ``over_matrix`` whose blocks add up what they take: a single one for few elements."""
    return _matrix(rows, columns, _SUM_PER_THREAD, _MAX_SUMS)


def over_rows(rows: int, columns: int) -> tuple[Grid, int]:
    """Return a grid with a group of lanes, at most a warp, for each row; and how many lanes these are."""
    return _rows(rows, columns, 1, _MAX_BLOCKS)


def over_summed_rows(rows: int, columns: int) -> tuple[Grid, int]:
    """Return a grid like that of ``over_rows`` whose blocks add up what they take: a single one for few rows."""
    return _rows(rows, columns, _ROWS_PER_GROUP, _MAX_SUMS)


def over_columns(rows: int, columns: int) -> Grid:
    """Return a grid that adds up columns: x runs along the columns, and each y takes a slice of the rows."""
    width = min(_power_of_two(columns), _WARP)
    height = THREADS // width
    across = min(_blocks(columns, width), _MAX_BLOCKS)
    slices = min(_blocks(rows, height * _COLUMN_SUM_PER_THREAD), max(1, _MAX_SUMS // across))
    return (across, slices), (width, height)


def parts(n: int) -> list[slice]:
    """Cut what runs along y or z into pieces of so many blocks as there may be."""
    return [slice(start, min(start + MAX_BLOCKS_YZ, n)) for start in range(0, n, MAX_BLOCKS_YZ)]


def pack_width(n: int, *arrays: Any) -> int:
    """Return how many neighbours may move at once: as many as 16 bytes hold where ``n`` and all addresses allow it."""
    width = _VECTOR_BYTES // int(arrays[0].itemsize)
    fits = n % width == 0 and all(array.data.ptr % _VECTOR_BYTES == 0 for array in arrays)
    return width if fits else 1


def _rows(rows: int, columns: int, per_group: int, max_blocks: int) -> tuple[Grid, int]:
    lanes = min(_power_of_two(_blocks(columns, _COLUMNS_PER_LANE)), _WARP)
    return ((min(_blocks(rows, THREADS // lanes * per_group), max_blocks),), (THREADS,)), lanes


def _matrix(rows: int, columns: int, per_thread: int, max_blocks: int) -> Grid:
    width = min(_power_of_two(columns), THREADS)
    height = THREADS // width
    across = min(_blocks(columns, width), max_blocks)
    down = min(_blocks(rows, height * per_thread), max(1, max_blocks // across))
    return (across, down), (width, height)


def _blocks(n: int, size: int) -> int:
    """Return how many blocks of a size cover ``n``; at least one, as a launch needs."""
    return max(1, -(-n // size))


def _power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least ``n``."""
    return 1 << max(0, n - 1).bit_length()
