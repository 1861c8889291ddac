"""Settings times seeds, trained over groups, processes and the machines of a cluster.

It may use ensembles, models and training; no model knows of it.
"""
