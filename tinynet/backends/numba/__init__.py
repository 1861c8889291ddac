"""The Numba backend: kernels compiled for this processor, and its plans of whole epochs.

It may use ``tinynet_kernels.cpu``, Numba, and the rest of ``backends``.
"""

from tinynet.backends.base import Backend


def create() -> Backend:
    """Return the backend, or tell why it does not run here."""
    from tinynet.backends.numba.backend import create

    return create()
