"""Machine code for the CPU that this package writes itself: LLVM IR as text, compiled by llvmlite, kept on disk.

From the bottom up: ``target`` says what must be known of a processor, ``ir`` and ``ir_types`` write instructions,
``elementary`` and ``emit`` turn formulas into them; ``frame`` is what a kernel sees, and ``products``,
``elementwise``, ``losses``, ``updates``, ``random``, ``data`` and ``packing`` are the kernels; ``samples`` and
``registers`` are those of small networks; ``abreast``, ``curvature`` and ``normal`` those of Gauss-Newton steps, which
``passes`` and ``equations`` put together, and with ``tangents`` those of ``derivatives``. ``units`` names the pieces
of code, ``compiler``, ``cache`` and ``library`` make, keep and load them. ``layout``, ``table`` and ``builder`` lay a
network out for the ``driver``, which calls the kernels, ``large`` its large layers, ``sobolev`` one that learns
slopes; ``task`` runs it, and ``team`` is the threads that do so together.

Nothing here imports Numba or SciPy, and llvmlite only where code is loaded.
"""
