"""The array types of the contract."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
"""``float32`` or ``float64``, C-contiguous."""

Doubles = NDArray[np.float64]
"""``float64``, whatever the dtype of the computation."""

IndexArray = NDArray[np.integer[Any]]
"""Row or class numbers, ``int32`` or ``int64``."""

RealArray = NDArray[np.integer[Any] | np.floating[Any] | np.bool_]
"""Data as users have it: any real dtype, any strides."""

ValueArray = NDArray[np.float64]
"""A place for a result that is one number, ``(1,)``."""

AnyArray = NDArray[Any]
"""Where the dtype depends on the kind."""

Words = NDArray[np.uint64]
"""32-bit words, each in 64 bits to leave room for a product."""

DeviceArray = Any
"""``cupy.ndarray``, which has no stubs."""
