"""Fuzz a loader with atheris (coverage-guided, libFuzzer inside); see tests/README.md.

    pip install atheris
    python tests/fuzz_loaders.py npz-header -max_total_time=600

The first argument names a target of ``loader_targets``; the others are libFuzzer's. Anything but the errors that the
loader promises ends the run, with the input in a file ``crash-*``; so does a loader that takes more than 512 MiB
besides what the process has, and one that takes more than 10 seconds.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

HEADROOM = 512 * 2**20
"""Bytes of memory that a loader may ask for at a time."""

SECONDS = 10


def main(argv: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["tinynet"]):
        from loader_targets import TARGETS

    if len(argv) < 2 or argv[1] not in TARGETS:
        sys.exit(f"usage: {argv[0]} TARGET [libFuzzer's options]\ntargets: {', '.join(TARGETS)}")
    target = TARGETS[argv[1]]
    with tempfile.TemporaryDirectory() as temporary:
        folder, seeds = Path(temporary, "file"), Path(temporary, "seeds")
        for place in (folder, seeds):
            place.mkdir()
        (seeds / "valid").write_bytes(target.seed())
        words = Path(temporary, "words")
        words.write_text("\n".join(dictionary(target.seed())))
        target.run(target.seed(), folder)
        limit_memory()

        def run(data: bytes) -> None:
            target.run(data, folder)

        options = [f"-timeout={SECONDS}", f"-dict={words}", "-rss_limit_mb=4096", "-max_len=20000"]
        atheris.Setup([argv[0], *options, *argv[2:], str(seeds)], run)
        atheris.Fuzz()


def dictionary(seed: bytes) -> list[str]:
    """Return words that mutations are made of: the keys and strings of a JSON seed, and awkward numbers."""
    words = {"1e999", "-1", "NaN", "99999999999999999999", "null", "[]", "{}", "|O", "<f8", "<f4"}
    with suppress(ValueError):  # A seed that is no JSON has no words.
        collect(json.loads(seed), words)
    plain = [word for word in sorted(words) if word.isascii() and word.isprintable() and 0 < len(word) < 64]
    return ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in plain]


def collect(value: Any, words: set[str]) -> None:
    """Add the strings in a JSON value to ``words``."""
    if isinstance(value, str):
        words.add(value)
    elif isinstance(value, dict):
        words.update(value)
        for entry in value.values():
            collect(entry, words)
    elif isinstance(value, list):
        for entry in value:
            collect(entry, words)


def limit_memory() -> None:
    """Let a request for much memory fail, with the MemoryError that no loader may raise."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.argv)
