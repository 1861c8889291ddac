"""How tinynet computes: pure functions on arrays, once per kind of machine.

``tinynet_kernels.reference`` (NumPy) is the contract; ``tinynet_kernels.cpu`` (Numba) holds the same functions,
compiled. Importing this package loads neither: pick the module you want. ``kernels/README.md`` writes the contract out.
"""

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, READS_Z, ActivationTraits, LossTraits

__all__ = ["ACTIVATIONS", "LOSSES", "READS_Z", "ActivationTraits", "LossTraits"]
