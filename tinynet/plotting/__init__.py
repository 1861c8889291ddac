"""Plots of trainings, networks and sweeps; they need matplotlib.

It draws what it is given, and may use exchange (to write files), layers and base.
"""
