"""The `tinynet` command: train, sweep, predict, evaluate, info.

It says in words what the rest of the library does, and may use all of it.
"""
