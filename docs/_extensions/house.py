"""``{house}``: the rooms of the package as a picture; ``{rooms}``: what each is for, in its own words.

Both are made from the sources whenever the pages are built. The build fails for an import that goes up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from house_drawing import Drawing
from house_plan import TABLE, Room, floors, modules, room, ties
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class _FromSources(SphinxDirective):
    """Takes no arguments: what is there is shown."""

    def rooms(self) -> list[list[Room]]:
        """Return the rooms of each floor, and let the page be made anew when a source changes."""
        for path in [TABLE, *modules()]:
            self.env.note_dependency(str(path))
        return [[room(name) for name in floor] for floor in floors()]


class House(_FromSources):
    """The picture."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        try:
            picture = Drawing(self.rooms(), ties()).svg()
        except ValueError as error:
            raise ExtensionError(str(error)) from error
        return [nodes.raw("", f'<div class="house-frame">{picture}</div>', format="html")]


class Rooms(_FromSources):
    """A table of the rooms."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        lines = ["| room | what lives there |", "|---|---|"]
        lines += [f"| `{room.label}` | {room.words} |" for floor in self.rooms() for room in floor]
        return self.parse_text_to_nodes(StringList(lines, source=str(TABLE)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("house", House)
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
