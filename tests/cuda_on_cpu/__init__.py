"""Checking CUDA code on a machine without a GPU: see kernels/README.md, "Checking CUDA code without a GPU".

``builder`` compiles CUDA sources for the CPU and launches their kernels on NumPy arrays; ``fake_cupy`` stands in for
CuPy on top of it; ``nvrtc`` compiles the same sources for real GPUs; ``mutate`` and ``races`` are commands.
"""
