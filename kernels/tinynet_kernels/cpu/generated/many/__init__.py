"""Many models of one network: one model in each lane of a register.

Where the code for one model computes with a number, this computes with a register of numbers, by the same formula,
one for each model of a group. So a step never waits for a sum over lanes, no model sees another, and what becomes of
it does not depend on the group that it is in. A group stays in the nearest caches for all epochs of a call; threads
share the groups.

``groups`` brings models into the lanes and back, ``rows`` their data; ``contraction`` is all products,
``elementwise``, ``losses`` and ``updates`` the rest. ``unrolled`` is whole epochs of the smallest networks in one
kernel, of which ``small`` and ``grids`` are parts. ``builder`` and ``programs`` write the tables, which the driver for
one model runs, group after group.
"""
