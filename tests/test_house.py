"""The page on the house cannot lie: its picture is that of the imports, and what it names exists and is called."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import tinynet_kernels
from house_drawing import Drawing
from house_plan import FACE, GROUND, KERNELS, ROOT, Room, floors, imports, room, ties

import tinynet as tn

PAGE = ROOT / "docs" / "inside" / "house.md"

# -- the picture


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of three rooms, with imports of every form."""
    sources = {
        "__init__.py": "from toy.top import run\nimport toy_kernels\n",
        "top/__init__.py": '"""The top.\n\nAnd more of it.\n"""\n',
        "top/run.py": "from toy.middle import tools\nfrom toy.base import name, other\nimport toy.middle.tools\n",
        "middle/__init__.py": "",
        "middle/tools.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from toy.base import name\n"
            "def tool():\n    import numpy, toy_kernels.cpu\n"
        ),
        "base.py": "name = other = 1\n",
    }
    for name, text in sources.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


def test_imports_are_found_wherever_they_stand(package: Path) -> None:
    tools = package / "middle" / "tools.py"
    assert imports(tools, root=package.parent) == ["typing", "numpy", "toy_kernels.cpu"]
    assert imports(tools, types=True, root=package.parent) == ["typing", "toy.base", "numpy", "toy_kernels.cpu"]
    assert imports(package / "top" / "run.py", root=package.parent) == ["toy.middle.tools", "toy.base"]


def test_a_relative_import_is_refused(package: Path) -> None:
    (package / "base.py").write_text("from . import middle\n")
    with pytest.raises(ValueError, match=r"base\.py, line 1: expected absolute imports"):
        imports(package / "base.py", root=package.parent)


def test_ties_are_counted_by_file_and_module(package: Path) -> None:
    counted = ties(package)
    assert counted == {
        ("toy", "top"): 1,
        ("toy", "toy_kernels"): 1,
        ("top", "middle"): 1,
        ("top", "base"): 1,
        ("middle", "base"): 1,
        ("middle", "toy_kernels"): 1,
    }


def test_a_room_is_a_folder_or_a_file(package: Path) -> None:
    top, base = room("top", package), room("base", package)
    assert (top.label, base.label) == ("top/", "base.py")
    assert (top.n_files, top.n_lines, top.words) == (2, 7, "The top.")
    with pytest.raises(ValueError, match=r"lists the room 'attic': there is no such folder or file"):
        room("attic", package)


def drawn(pairs: dict[tuple[str, str], int]) -> ElementTree.Element:
    rooms = [[Room(name, True, 2, 30, "") for name in floor] for floor in (["top"], ["left", "right"], ["base"])]
    return ElementTree.fromstring(Drawing(rooms, Counter(pairs)).svg())


def classes(picture: ElementTree.Element) -> list[set[str]]:
    return [set(element.get("class", "").split()) for element in picture.iter()]


def test_every_room_and_every_import_is_drawn() -> None:
    pairs = {(FACE, "top"): 3, ("top", "left"): 2, ("top", "base"): 1, ("right", "base"): 4, ("base", GROUND): 7}
    picture = drawn(pairs)
    for name in (FACE, "top", "left", "right", "base", GROUND):
        assert sum({"room", f"room-{name}"} <= found for found in classes(picture)) == 1
    counts = {
        (words[1].removeprefix("from-"), words[2].removeprefix("to-")): int(group.findtext("text", ""))
        for group in picture.iter("g")
        if (words := group.get("class", "").split())[0] == "count"
    }
    assert counts == pairs


@pytest.mark.parametrize("pair", [("base", "top"), ("left", "right"), ("top", FACE), (GROUND, "base")])
def test_what_goes_up_is_not_drawn(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=f"imports go down the house only; .*: {pair[0]} from {pair[1]}"):
        drawn({pair: 1})


def test_a_room_that_is_on_no_floor_is_not_drawn() -> None:
    with pytest.raises(ValueError, match=r"tinynet\.attic is on no floor: add it to docs/house\.toml"):
        drawn({("attic", "base"): 1})


def test_the_house_can_be_drawn() -> None:
    picture = ElementTree.fromstring(Drawing([[room(name) for name in floor] for floor in floors()], ties()).svg())
    assert sum("count" in found for found in classes(picture)) == len(ties()) > 50


# -- what the page names


class Row(NamedTuple):
    """A row of a table of the page: a place in the repository, and names that stand there."""

    heading: str
    path: str
    names: tuple[str, ...]


def rows() -> list[Row]:
    """Return the rows of the tables of the page whose first column is headed "in"."""
    found, heading, inside = [], "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if line.startswith("#"):
            heading = line.strip("# ")
        if not line.startswith("|"):
            inside = False
        elif cells[0] == "in":
            inside = True
        elif inside and not cells[0].startswith("-"):
            found.append(Row(heading, cells[0].strip("`"), tuple(re.findall(r"`([^`]+)`", cells[1]))))
    return found


@cache
def defined(path: Path) -> frozenset[str]:
    """Return the names that stand in a file: those that Python defines, dotted within classes, else all words."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return frozenset(re.findall(r"\w+", text))
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    visit(ast.parse(text).body, "")
    return frozenset(found)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.heading}: {row.path}")
def test_what_the_page_names_exists(row: Row) -> None:
    path = (KERNELS.parent if row.path.startswith(GROUND) else ROOT) / row.path
    assert path.exists(), f"there is no {row.path}"
    assert path.is_dir() == row.path.endswith("/")
    if row.names:
        assert set(row.names) <= defined(path), f"{row.path} does not define {set(row.names) - defined(path)}"


THINGS = "layer activation loss optimizer schedule callback metric backend command"


def test_the_page_tells_where_to_add_everything() -> None:
    headings = {row.heading for row in rows()}
    assert {f"{'An' if thing[0] in 'aeiou' else 'A'} {thing}" for thing in THINGS.split()} <= headings
    assert "A file format" in headings


WAY = ("Down", "Through", "Back")


def test_the_way_of_a_batch_is_the_one_that_the_page_tells() -> None:
    told = [(row.path, name) for row in rows() if row.heading in WAY for name in row.names]
    roots = {Path(package.__file__).parents[1] for package in (tn, tinynet_kernels)}
    called: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call":
            called.extend(
                (path.relative_to(root).as_posix(), frame.f_code.co_qualname) for root in roots if root in path.parents
            )

    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), seed=0, backend="numpy")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 2), "float32")
    sys.setprofile(note)
    try:
        net.fit(x, y, loss="mse", optimizer="adam", validation_data=(x, y), batch_size=4, callbacks=tn.Callback())
    finally:
        sys.setprofile(None)
    calls = iter(called)
    assert len(told) > 20
    for step in told:
        assert step in calls, f"{step} is not called, or not after what the page tells before it"
