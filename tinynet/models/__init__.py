"""Sequential and what it can do: train, predict, save, load, export.

It may use training, exchange, layers and backends.
"""
