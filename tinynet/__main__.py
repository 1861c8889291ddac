"""``python -m tinynet``: the command ``tinynet``."""

from __future__ import annotations

from tinynet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
