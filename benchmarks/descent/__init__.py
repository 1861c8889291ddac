"""How long it takes to get to the bottom: the loss of small regressions against seconds, for many optimizers."""
