"""The fit loop and what goes with it: data, callbacks, history, metrics, checkpoints, loggers.

It trains what a small Protocol describes, and knows no model; it may use plotting, exchange, layers and backends.
"""
