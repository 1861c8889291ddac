"""The house as its sources have it: floors, rooms, and who imports whom.

``house`` makes the picture of it, and ``tests/test_structure.py`` holds every import against the floors. The floors are
listed in ``docs/house.toml`` and nowhere else; all the rest is read from the files.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "house.toml"
PACKAGE = ROOT / "tinynet"
KERNELS = ROOT / "kernels" / "tinynet_kernels"

FACE, GROUND = PACKAGE.name, KERNELS.name
"""What stands above the floors, ``tinynet/__init__.py``, and what they stand on."""

Ties = Counter[tuple[str, str]]
"""How often a room imports from another: each file counts each module once."""


@dataclass(frozen=True)
class Room:
    """A folder or a file of the package.

    Attributes
    ----------
    name : str
    folder : bool
        Whether it has files in it, or is one.
    n_files, n_lines : int
        How large it is.
    words : str
        The first paragraph of its docstring.
    """

    name: str
    folder: bool
    n_files: int
    n_lines: int
    words: str

    @property
    def label(self) -> str:
        """What it is called on the disk."""
        return f"{self.name}/" if self.folder else f"{self.name}.py"


def floors() -> list[list[str]]:
    """Return the names of the rooms on each floor, from the top down."""
    listed: list[list[str]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["floors"]
    return listed


def room_of(path: Path, package: Path = PACKAGE) -> str:
    """Return the name of the room that a file of the package lies in; that of ``__init__.py`` is ``__init__``."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def modules(package: Path = PACKAGE) -> list[Path]:
    """Return the files of a package; the ``__init__.py`` of a folder comes before the others in it."""
    return sorted(package.rglob("*.py"))


def room(name: str, package: Path = PACKAGE) -> Room:
    """Return a room by its name."""
    texts = [path.read_text(encoding="utf-8") for path in modules(package) if room_of(path, package) == name]
    if not texts:
        raise ValueError(f"{TABLE.name} lists the room {name!r}: there is no such folder or file in {package}.")
    first_paragraph = (ast.get_docstring(ast.parse(texts[0])) or "").partition("\n\n")[0]
    n_lines = sum(len(text.splitlines()) for text in texts)
    return Room(name, (package / name).is_dir(), len(texts), n_lines, " ".join(first_paragraph.split()))


def imports(path: Path, *, types: bool = False, root: Path = ROOT) -> list[str]:
    """Return the full names of what a file imports, also inside functions.

    Parameters
    ----------
    path : Path
    types : bool
        Whether those count that only type checkers see.
    root : Path
        The folder that the package lies in.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if node in typing_only and not types:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}, line {node.lineno}: expected absolute imports only; got a relative one.")
            # ``from tinynet.base import checks`` imports a file, ``from tinynet.base.checks import whole`` a name.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if _is_module(name, root) else str(node.module) for name in names]
    return list(dict.fromkeys(found))


def _is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ties(package: Path = PACKAGE) -> Ties:
    """Return who imports whom: rooms of the package, its face, and the kernels it stands on."""
    face, ground = package.name, f"{package.name}_kernels"
    counts: Ties = Counter()
    for path in modules(package):
        here = face if path == package / "__init__.py" else room_of(path, package)
        for name in imports(path, types=True, root=package.parent):
            top, *inner = name.split(".")
            there = top if not inner or top == ground else inner[0]
            if top in (face, ground) and there != here:
                counts[here, there] += 1
    return counts
