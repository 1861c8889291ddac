"""What those who decide in generated code and those who do in Python must agree on about optimizers of second order."""

REASONS = ("", "gradient", "damping", "line search", "goal")
"""Why an optimizer stops by itself; a state holds the place in this list."""

STEP = 0.1
"""Share of a step that a difference along it goes to both sides (Transtrum and Sethna 2012, section II.C)."""

MOST_CORRECTION = 0.75
"""Most that twice the second-order part of a step may be of it (Transtrum and Sethna 2012, equation 15)."""

LEAST_DAMPING = 1e-20
"""Never so small that it could not grow again."""

LEAST_SCALE = 1e-12
"""Of a parameter, so that none is without damping."""

FIRST_DECAY = 0.01
"""Share of what the evidence says at first that squares are weighed by: before it learns, all is noise to a network."""

MOST_GROWTH = 2.0
"""Of what squares are weighed by, from a step to the next: until it is there, the network has learned."""

LEAST_SQUARES = 1e-300
"""Of all parameters, which the evidence divides by."""
