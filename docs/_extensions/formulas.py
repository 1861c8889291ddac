"""``{formulas} layers``: the pages of ``docs/formulas.toml``, a section for each class, in the order of the table.

The build fails if the table lacks a class of the library, or has one that the library lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from formula_table import TABLE, Entry, differences, table
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Formulas(SphinxDirective):
    """Takes the name of a page of the table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.env.note_dependency(str(TABLE))
        return [self.section(name, entry) for name, entry in table()[self.arguments[0]].items()]

    def section(self, name: str, entry: Entry) -> nodes.section:
        """Return the section of one class."""
        section = nodes.section(ids=[nodes.make_id(name)], names=[nodes.fully_normalize_name(name)])
        section += nodes.title(text=name)
        self.state.document.note_explicit_target(section)
        lines = StringList(list(_lines(name, entry)), source=str(TABLE))
        self.state.nested_parse(lines, 0, section)
        return section


def _lines(name: str, entry: Entry) -> list[str]:
    """Return the text of a section, in Markdown."""
    lines = ["```{math}", entry["formula"].strip(), "```", ""]
    if "gradient" in entry:
        lines += ["```{math}", entry["gradient"].strip(), "```", ""]
    lines += [*entry.get("words", "").strip().splitlines(), ""]
    code = entry.get("numpy") or entry.get("step")
    if code:
        lines += ["```python", *code.strip().splitlines(), "```", ""]
    lines += [f"{{class}}`tinynet.{name}`. *{entry['source']}*"]
    return lines


def _check(app: Sphinx) -> None:
    wrong = differences()
    if wrong:
        raise ExtensionError("; ".join(wrong))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and the check before anything is built."""
    app.add_directive("formulas", Formulas)
    app.connect("builder-inited", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
