"""``{results}``: every table and plot in ``benchmarks/results``, a section for each machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


class Results(SphinxDirective):
    """Takes no arguments: what is committed is shown."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.env.note_dependency(str(FOLDER))
        return [self.section(path) for path in sorted(FOLDER.glob("*.md"))]

    def section(self, path: Path) -> nodes.section:
        """Return the section of one machine: its plot, if there is one, and its tables."""
        self.env.note_dependency(str(path))
        lines = path.read_text(encoding="utf-8").splitlines()
        machine, _, _ = lines[0].partition(", 20")
        section = nodes.section(ids=[nodes.make_id(path.stem)], names=[nodes.fully_normalize_name(path.stem)])
        section["classes"].append("results")  # the style sheet keeps its figures in one line
        section += nodes.title(text=machine)
        self.state.document.note_explicit_target(section)
        plot = path.with_name(f"{path.stem}-speed.png")
        if plot.exists():
            place = f"../benchmarks/results/{plot.name}"
            lines = [*lines[:1], "", f"![How many times faster than others tinynet is, {machine}]({place})", *lines[1:]]
        self.state.nested_parse(StringList(lines, source=str(path)), 0, section)
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("results", Results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
