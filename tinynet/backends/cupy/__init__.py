"""The CuPy backend: kernels on an NVIDIA GPU, and its plans of whole epochs.

It may use ``tinynet_kernels.cuda``, CuPy, and the rest of ``backends``.
"""

from tinynet.backends.base import Backend


def create(device: int = 0) -> Backend:
    """Return the backend of a GPU, or tell why it does not run here."""
    from tinynet.backends.cupy.backend import create

    return create(device)
