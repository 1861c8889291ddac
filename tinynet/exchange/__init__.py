"""Files and formats, in terms of Program, layers and arrays.

It knows no model; it may use layers, losses, program and base.
"""
