"""The benchmark suite: tinynet against what one would run instead, side by side, on this machine.

``python -m benchmarks --help`` tells how to run it; ``README.md`` in this folder tells what the figures mean.
"""
