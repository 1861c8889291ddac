"""Ranks: processes on one machine or on many that train one model, each on samples of its own, by way of MPI.

``Team`` is what they say to each other; plans compute as those of one process do, and sum over the ranks.
"""
