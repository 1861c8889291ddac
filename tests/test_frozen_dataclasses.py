"""Frozen dataclasses that compile nothing, held against those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from tinynet.base.frozen import dataclass as ours

STANDARD = dataclasses.dataclass(frozen=True)


def classes(make: Callable[[type], type]) -> list[Any]:
    """Return a class, one that inherits, one with methods of its own, and one without fields."""

    @make
    class Base:
        """Two fields."""

        x: float
        names: tuple[str, ...] = ("a",)

    @make
    class Derived(Base):  # type: ignore[misc,valid-type]
        """A field of each kind; a default value of before is another now."""

        names: tuple[str, ...] = ("b",)
        made: list[int] = field(default_factory=list, compare=False)
        hidden: int = field(default=3, repr=False)

    @make
    class Checked:
        """Its own text, and a check."""

        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError("n")

        def __repr__(self) -> str:
            return f"<{self.n}>"

    @make
    class Empty:
        """No fields."""

    return [Base, Derived, Checked, Empty]


OURS, THEIRS = classes(ours(frozen=True)), classes(STANDARD)
CALLS: list[list[tuple[tuple[Any, ...], dict[str, Any]]]] = [
    [((1.0,), {}), ((1.0, ("c",)), {}), ((), {"names": (), "x": 2.0}), ((1.0,), {"names": ("a",)})],
    [((1.0,), {}), ((1.0, ("c",), [1]), {}), ((1.0,), {"made": [2], "hidden": 4}), ((1.0, ("b",), [], 3), {})],
    [((1,), {}), ((), {"n": 2})],
    [((), {})],
]
"""Arguments for each of the classes."""

WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((), {"names": ()}),
    ((1.0, (), 3), {}),
    ((1.0,), {"x": 1.0}),
    ((1.0,), {"z": 1.0}),
    ((), {"names": (), "z": 1.0}),
]
"""Arguments that the first class refuses."""


@pytest.mark.parametrize("i", range(len(OURS)), ids=[cls.__name__ for cls in OURS])
def test_they_are_what_the_standard_library_makes(i: int) -> None:
    mine, theirs = OURS[i], THEIRS[i]
    assert str(inspect.signature(mine)) == str(inspect.signature(theirs))
    told = [
        [(f.name, f.type, f.default, f.default_factory, f.repr, f.compare) for f in dataclasses.fields(cls)]
        for cls in (mine, theirs)
    ]
    assert told[0] == told[1]
    assert mine.__match_args__ == theirs.__match_args__
    objects = [[cls(*args, **given) for args, given in CALLS[i]] for cls in (mine, theirs)]
    for one, other in zip(*objects, strict=True):
        assert repr(one) == repr(other)
        assert dataclasses.asdict(one) == dataclasses.asdict(other)
        assert vars(one) == vars(other)
        assert list(vars(one)) == list(vars(other))
        assert copy.deepcopy(one) == dataclasses.replace(one) == one != other
        assert hash(copy.copy(one)) == hash(one)
        with pytest.raises(FrozenInstanceError):
            one.x = 1
        with pytest.raises(FrozenInstanceError):
            del one.x
    equal = [[[a == b for a in made] for b in made] for made in objects]
    assert equal[0] == equal[1]


@pytest.mark.parametrize("call", WRONG, ids=str)
def test_both_refuse_the_same_arguments(call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    for cls in (OURS[0], THEIRS[0]):
        with pytest.raises(TypeError, match="Base"):
            cls(*call[0], **call[1])


def test_the_check_of_a_class_is_made() -> None:
    with pytest.raises(ValueError, match="n"):
        OURS[2](-1)
    with pytest.raises(ValueError, match="n"):
        dataclasses.replace(OURS[2](1), n=-1)


def test_their_signatures_tell_default_values_and_types() -> None:
    assert str(inspect.signature(OURS[0])) == str(inspect.signature(THEIRS[0]))

    class Called(OURS[0]):  # type: ignore[misc,name-defined]
        def __call__(self, z: int) -> None:
            """Be called, as a function of the user's may be an object."""

    assert list(inspect.signature(Called(1.0)).parameters) == ["z"]

    class Own(OURS[0]):  # type: ignore[misc,name-defined]
        def __init__(self, y: int) -> None:
            super().__init__(y)

    assert list(inspect.signature(Own).parameters) == ["y"]


def test_default_values_are_made_for_each_object() -> None:
    one, other = OURS[1](1.0), OURS[1](1.0)
    assert one.made == []
    assert one.made is not other.made
    assert not hasattr(OURS[1], "made")
    assert OURS[1].hidden == 3


@pytest.mark.parametrize("make", [ours(frozen=True), STANDARD], ids=["ours", "standard"])
def test_who_inherits_is_frozen(make: Callable[[type], type]) -> None:
    @make
    class More(OURS[0]):  # type: ignore[misc,name-defined]
        """One field more."""

        y: int = 0

    assert repr(More(1.0, y=2)).endswith("More(x=1.0, names=('a',), y=2)")
    with pytest.raises(FrozenInstanceError):
        More(1.0).x = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="frozen"):
        dataclasses.dataclass(type("Thawed", (OURS[0],), {}))

    class Loose(OURS[0]):  # type: ignore[misc,name-defined]
        """No dataclass itself: it may have attributes besides."""

    loose = Loose(1.0)
    loose.other = 1  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        loose.x = 2.0


def test_fields_with_default_values_come_last() -> None:
    with pytest.raises(TypeError, match="without a default value"):
        ours(frozen=True)(type("Late", (), {"__annotations__": {"x": "int", "y": "int"}, "x": 1}))


def test_a_default_value_that_all_objects_would_share_is_refused() -> None:
    for make in (ours(frozen=True), STANDARD):
        with pytest.raises(ValueError, match="default_factory"):
            make(type("Shared", (), {"__annotations__": {"x": "list[int]"}, "x": []}))


@ours(frozen=True)
class Sent:
    """What goes through a pickle must be found by its name."""

    x: int


def test_they_travel() -> None:
    assert pickle.loads(pickle.dumps(Sent(1))) == Sent(1)
    match Sent(3):
        case Sent(x):
            assert x == 3
