"""The command ``tinynet`` as a process of its own: also ``python -m tinynet``."""

from __future__ import annotations

import gc


def command() -> int:
    """Run the command; return its exit code.

    What is imported lasts as long as the process: the garbage collector rests until it is all there, and leaves it out
    from then on, also at the end. A process that predicts a few rows would spend a tenth of its time on it.
    """
    gc.disable()
    from tinynet.cli.main import main

    return main(imported=_collect_the_rest)


def _collect_the_rest() -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    raise SystemExit(command())
