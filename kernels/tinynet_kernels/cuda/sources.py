"""The text of the CUDA sources: files beside this one, and headers that are written from the formulas."""

import re
from functools import cache
from pathlib import Path

from tinynet_kernels.cuda_headers import HEADERS, texts_in

_FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'#include "(.+)"')


def source(file: str, user: str = "") -> str:
    """Return a source with all that it includes written into it, each file once.

    CuPy keeps machine code on disk under a digest of the text that it is given, so an edit in a file that was only
    included would go unseen.

    Parameters
    ----------
    file : str
        Its name, such as ``"losses.cu"``.
    user : str
        Code that names the formulas which the headers must have beside those of the library.
    """
    return _source(file, tuple(texts_in(user, header) for header in HEADERS))


@cache
def _source(file: str, texts: tuple[tuple[str, ...], ...]) -> str:
    headers = {name: write(own) for (name, write), own in zip(HEADERS.items(), texts, strict=True)}
    return _expanded(file, {file}, headers)


def _expanded(file: str, seen: set[str], headers: dict[str, str]) -> str:
    """Return the text of a file; ``seen`` names the files that have been written already."""
    lines = [f'#line 1 "{file}"']
    text = headers[file] if file in headers else (_FOLDER / file).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        if include is None:
            lines.append("" if line == "#pragma once" else line)
        elif include[1] not in seen:
            seen.add(include[1])
            lines += [_expanded(include[1], seen, headers), f'#line {number + 1} "{file}"']
        else:
            lines.append("")
    return "\n".join(lines)
