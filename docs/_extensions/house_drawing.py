"""The picture of the house: a room a step of the stairs, a floor a band, and a number wherever one imports another.

An import goes down from the room that makes it, and right to the room that is imported; what would go up is an error.
It is SVG for the inside of a page, whose style sheet gives it the colours of the day and of the night.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from house_plan import FACE, GROUND, Room, Ties

STEP, STOREY = 37.0, 37.0
"""How far the next room stands to the right of the one above it, and how far below."""

BOX, PADDING, LETTER = 25.0, 9.0, 7.3
"""Height of a box; room left and right of its name; width of a letter of the name."""

RADIUS, CORNER, ARROW, MARGIN = 10.0, 8.0, 6.0, 14.0
"""Radius of a number's circle and of a corner; length of an arrow's head; what is left around everything."""

GABLE = 58.0
"""Height of the roof."""


class Drawing:
    """The rooms with their places.

    Parameters
    ----------
    floors : list of list of Room
        From the top down.
    ties : Counter
        How often a room, or the face, imports from another, or from the kernels.
    """

    def __init__(self, floors: Sequence[Sequence[Room]], ties: Ties) -> None:
        self.floors, self.ties = floors, ties
        rooms = {room.name: room for floor in floors for room in floor}
        self.labels = {FACE: FACE, **{name: room.label for name, room in rooms.items()}, GROUND: GROUND}
        self.notes = {FACE: "import tinynet as tn", **{name: _note(room) for name, room in rooms.items()}, GROUND: ""}
        self.words = {FACE: "The face: what users import.", **{name: room.words for name, room in rooms.items()}}
        self.rows = {name: row for row, name in enumerate(self.labels)}
        storeys = {room.name: number for number, floor in enumerate(floors) for room in floor}
        self._check({FACE: -1, **storeys, GROUND: len(floors)})

    def _check(self, floor_of: dict[str, int]) -> None:
        """Raise ValueError for what has no place in the picture."""
        for pair in self.ties:
            for name in set(pair) - floor_of.keys():
                raise ValueError(f"tinynet.{name} is on no floor: add it to docs/house.toml.")
        up = [f"{a} from {b}" for a, b in self.ties if floor_of[a] >= floor_of[b]]
        if up:
            raise ValueError(f"imports go down the house only; these go up, or stay on their floor: {', '.join(up)}.")

    # -- places ------------------------------------------------------------------------------------------------------

    def left(self, name: str) -> float:
        """Return where the box of a room begins."""
        return MARGIN + STEP * self.rows[name]

    def middle(self, name: str) -> float:
        """Return the height at which a room stands, from the top."""
        return GABLE + STOREY * (self.rows[name] + 0.5)

    def trunk(self, name: str) -> float:
        """Return where the imports of a room go down."""
        return self.left(name) + RADIUS + 3

    def box_width(self, name: str) -> float:
        """Return the width of the box of a room."""
        return 2 * PADDING + LETTER * len(self.labels[name])

    @property
    def width(self) -> float:
        """Width of the picture."""
        return max(self.left(name) + self.box_width(name) + self._note_width(name) for name in self.rows) + MARGIN

    @property
    def height(self) -> float:
        """Height of the picture."""
        return GABLE + STOREY * len(self.rows) + MARGIN / 2

    def _note_width(self, name: str) -> float:
        return 8 + 5.6 * len(self.notes[name])

    # -- strokes -----------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """Return the picture."""
        names = list(self.rows)
        counted = f"{sum(self.ties.values())} imports, {len(self.ties)} ways from room to room, all of them down"
        label = f"The rooms of tinynet on {len(self.floors)} floors: {counted}"
        parts = [
            f'<svg class="house" viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="group" aria-label="{label}">',
            f"<style>{' '.join(_rules(names))}</style>",
            *self._floors(),
            f'<text class="sum" x="{self.width / 2:.0f}" y="{GABLE - 12}">{counted}</text>',
            f'<g class="lines">{"".join(self._lines())}</g>',
            *(self._way(*pair) for pair in self.ties),
            *(self._count(*pair) for pair in self.ties),
            *(self._box(name) for name in names),
        ]
        return "\n".join([*parts, "</svg>"])

    def _floors(self) -> Iterator[str]:
        """Yield the roof, the floors from wall to wall, and the ground."""
        width, eaves = round(self.width), GABLE + STOREY
        yield f'<path class="roof" d="M0 {GABLE}L{width / 2} 2L{width} {GABLE}V{eaves}H0Z"/>'
        for number, floor in enumerate(self.floors):
            top, kind = self.middle(floor[0].name) - STOREY / 2, "floor even" if number % 2 else "floor"
            yield f'<rect class="{kind}" x="0" y="{top}" width="{width}" height="{STOREY * len(floor)}"/>'
            storey = f'x="{width - 7}" y="{top + STOREY / 2}"'
            yield f'<text class="storey" {storey}>{len(self.floors) - number}</text>'
        ground = self.middle(GROUND) - STOREY / 2
        yield f'<rect class="ground" x="0" y="{ground}" width="{width}" height="{STOREY}"/>'
        yield f'<path class="wall" d="M0 {ground}H{width}"/>'

    def _lines(self) -> Iterator[str]:
        """Yield what all imports share, once: the line down from each room, and the arrow into each."""
        for name in self.rows:
            x, y, end = self.trunk(name), self.middle(name), self.left(name)
            landings = [self.middle(there) for here, there in self.ties if here == name]
            if landings:
                last = max(landings)
                yield f'<path class="way" d="M{x} {y + BOX / 2}V{last - CORNER}q0 {CORNER} {CORNER} {CORNER}"/>'
            sources = [self.trunk(here) for here, there in self.ties if there == name]
            if sources:
                yield f'<path class="way" d="M{min(sources) + CORNER} {y}H{end - ARROW + 1}"/>{self._head(name)}'

    def _way(self, here: str, there: str) -> str:
        """Return one import's own way, for when its room is pointed at: down, and right."""
        x, y = self.trunk(here), self.middle(there)
        way = f"M{x} {self.middle(here) + BOX / 2}V{y - CORNER}q0 {CORNER} {CORNER} {CORNER}"
        way += f"H{self.left(there) - ARROW + 1}"
        return f'<g class="own from-{here} to-{there}"><path class="way" d="{way}"/>{self._head(there)}</g>'

    def _head(self, name: str) -> str:
        return f'<path class="head" d="M{self.left(name)} {self.middle(name)}l{-ARROW} -3.5v7Z"/>'

    def _count(self, here: str, there: str) -> str:
        """Return the number of an import, the stronger in colour the larger it is."""
        x, y, n = self.trunk(here), self.middle(there), self.ties[here, there]
        strength = 0.1 + 0.5 * min(1.0, n / 12)
        words = f"{self.labels[here]} imports from {self.labels[there]} {n} {'time' if n == 1 else 'times'}"
        return (
            f'<g class="count from-{here} to-{there}"><title>{words}</title>'
            f'<circle class="hole" cx="{x}" cy="{y}" r="{RADIUS}"/>'
            f'<circle class="fill" cx="{x}" cy="{y}" r="{RADIUS}" style="fill-opacity: {strength:.2f}"/>'
            f'<text x="{x}" y="{y}">{n}</text></g>'
        )

    def _box(self, name: str) -> str:
        """Return a room: its box with its name, and beside it how large it is."""
        x, y, width = self.left(name), self.middle(name), self.box_width(name)
        return (
            f'<g class="room room-{name}" tabindex="0"><title>{escape(self.words.get(name, ""))}</title>'
            f'<rect x="{x}" y="{y - BOX / 2}" width="{width:.1f}" height="{BOX}" rx="5"/>'
            f'<text class="name" x="{x + width / 2:.1f}" y="{y}">{self.labels[name]}</text>'
            f'<text class="note" x="{x + width + 8:.1f}" y="{y}">{self.notes[name]}</text></g>'
        )


def _rules(names: Sequence[str]) -> Iterator[str]:
    """Yield the rules by which a room that is pointed at shows its own imports, and leaves the others pale."""
    for name in names:
        pointed = f".house:has(.room-{name}:is(:hover, :focus))"
        yield f"{pointed} :is(.lines, .count:not(.from-{name}, .to-{name})) {{ opacity: 0.12; }}"
        yield f"{pointed} .own:is(.from-{name}, .to-{name}) {{ opacity: 1; }}"
        yield f"{pointed} .from-{name} {{ color: var(--pst-color-primary); }}"
        yield f"{pointed} .to-{name} {{ color: var(--pst-color-secondary); }}"


def _note(room: Room) -> str:
    lines = f"{room.n_lines:,} lines"
    return f"{room.n_files} files, {lines}" if room.folder else lines
