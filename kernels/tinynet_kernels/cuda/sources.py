"""The text of the CUDA sources, which lie beside this file."""

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'#include "(.+)"')


@cache
def source(file: str) -> str:
    """Return a source with all that it includes written into it, each file once.

    CuPy keeps machine code on disk under a digest of the text that it is given, so an edit in a file that was only
    included would go unseen.

    Parameters
    ----------
    file : str
        Its name, such as ``"losses.cu"``.
    """
    return _expanded(file, {file})


def _expanded(file: str, seen: set[str]) -> str:
    """Return the text of a file; ``seen`` names the files that have been written already."""
    lines = [f'#line 1 "{file}"']
    text = (_FOLDER / file).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        if include is None:
            lines.append("" if line == "#pragma once" else line)
        elif include[1] not in seen:
            seen.add(include[1])
            lines += [_expanded(include[1], seen), f'#line {number + 1} "{file}"']
        else:
            lines.append("")
    return "\n".join(lines)
