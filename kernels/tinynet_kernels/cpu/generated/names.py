"""Names of functions in object files."""

import hashlib


def symbol(unit: str, kernel: str, dtype: str) -> str:
    """Return the name of a kernel's function, which no other unit has."""
    return f"tinynet_{kernel}_{dtype}_{hashlib.sha256(unit.encode()).hexdigest()[:12]}"
