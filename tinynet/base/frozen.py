"""Frozen dataclasses that cost next to nothing to import.

``dataclasses.dataclass`` writes six functions for each class and compiles them, half a millisecond in all: what it made
of forty classes was a third of NumPy's whole import, and a process makes objects of ten of them. The classes that are
made here are dataclasses to whoever looks (``fields``, ``replace``, ``asdict``, ``match``, subclasses, type checkers),
with the same arguments, equality, hash and text; their methods are closures over the names of the fields, and nothing
is compiled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from inspect import Parameter, Signature, get_annotations
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tinynet.base.hints import wrong_arguments

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass

_Class = TypeVar("_Class", bound=type)


def _dataclass(*, frozen: Literal[True]) -> Callable[[_Class], _Class]:
    """Return what makes a frozen dataclass of a class, as ``dataclasses.dataclass(frozen=True)`` does.

    All fields are arguments, by place or by name, and the names of arguments that are wrong are told of.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Point:
    ...     x: float
    ...     y: float = 0.0
    >>> dataclasses.replace(Point(1.0), y=2.0)
    Point(x=1.0, y=2.0)
    >>> Point(1.0, z=2.0)
    Traceback (most recent call last):
        ...
    TypeError: Point() has no argument 'z'. It has x, y.
    """
    return _made


if not TYPE_CHECKING:
    dataclass = _dataclass


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A class that tells ``dataclasses`` that it is frozen."""


def _made(cls: _Class) -> _Class:
    fields = _fields_of(cls)
    for method in (*_of_all(cls, fields), *_of_compared(fields)):
        if method.__name__ not in vars(cls):
            method.__qualname__ = f"{cls.__qualname__}.{method.__name__}"
            setattr(cls, method.__name__, method)
    told = {
        "__dataclass_fields__": _Fields(cls, fields),
        "__dataclass_params__": vars(_Frozen)["__dataclass_params__"],
        "__match_args__": tuple(fields),
        "__signature__": _OfFields(cls),
    }
    for name, value in told.items():
        setattr(cls, name, value)
    return cls


def _fields_of(cls: Any) -> dict[str, Field[Any]]:
    """Return the fields of a class by name, those of its bases first; their defaults become attributes of the class."""
    found: dict[str, Field[Any]] = {}
    for base in cls.__mro__[:0:-1]:
        told = vars(base).get("__dataclass_fields__", {})
        found |= told.fields if isinstance(told, _Fields) else told
    for name, kind in get_annotations(cls).items():
        value = vars(cls).get(name, MISSING)
        if "ClassVar" in str(kind):
            continue
        if type(value).__hash__ is None:
            raise ValueError(f"{cls.__qualname__}.{name} is {value!r}, which all objects would share: default_factory")
        if not isinstance(value, Field):
            found[name] = dataclasses.field(default=value)
            continue
        found[name] = value
        delattr(cls, name)
        if value.default is not MISSING:
            setattr(cls, name, value.default)
    return found


class _Fields:
    """What ``dataclasses`` knows of the fields of a class: found in one that has the same, when it is first asked."""

    def __init__(self, cls: Any, fields: dict[str, Field[Any]]) -> None:
        self._cls, self.fields = cls, fields

    def __get__(self, instance: object, owner: Any) -> dict[str, Field[Any]]:
        types = {name: kind for base in self._cls.__mro__[::-1] for name, kind in get_annotations(base).items()}
        # Of a class without a text of its own, ``dataclasses`` would ask for the signature.
        body = {"__doc__": _Frozen.__doc__, "__module__": self._cls.__module__, **self.fields}
        body["__annotations__"] = {name: types[name] for name in self.fields}
        alike: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(type(self._cls.__name__, (), body))
        found: dict[str, Field[Any]] = vars(alike)["__dataclass_fields__"]
        self._cls.__dataclass_fields__ = found
        return found


class _OfFields:
    """The signature of a class whose constructor takes its fields: made when it is asked for, and not of an object."""

    def __init__(self, cls: type) -> None:
        self._cls: Any = cls

    def __get__(self, instance: object, owner: Any) -> Signature | None:
        if instance is not None:
            raise AttributeError("__signature__")
        own = owner.__init__ is self._cls.__init__ and owner.__init__.__module__ == __name__
        return Signature(_parameters(self._cls), return_annotation=None) if own else None


def _parameters(cls: Any) -> list[Parameter]:
    """Return the parameters of the constructor."""
    return [
        Parameter(field.name, Parameter.POSITIONAL_OR_KEYWORD, default=_shown(field), annotation=field.type)
        for field in dataclasses.fields(cls)
    ]


class _Made:
    """The default value of a field that each object gets anew."""

    def __repr__(self) -> str:
        return "<factory>"


def _shown(field: Field[Any]) -> Any:
    """Return the default value of a field, as a signature shows it."""
    default: Any = field.default if field.default_factory is MISSING else _Made()
    return Parameter.empty if default is MISSING else default


def _of_all(cls: Any, fields: dict[str, Field[Any]]) -> tuple[Callable[..., Any], ...]:
    """Return the methods that read or write all fields."""
    names = list(fields)
    shown = [name for name, field in fields.items() if field.repr]
    blank = {name: field.default for name, field in fields.items()}
    factories = {name: field.default_factory for name, field in fields.items() if field.default_factory is not MISSING}
    required = [name for name, default in blank.items() if default is MISSING and name not in factories]
    if required != names[: len(required)]:
        raise TypeError(f"a field of {cls.__qualname__} without a default value follows one that has one")
    finish: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)

    def __init__(self: Any, /, *args: Any, **given: Any) -> None:
        n, values = len(args), {**blank, **dict(zip(names, args, strict=False)), **given}
        lacking = n < len(required) and not given.keys() >= {*required[n:]}
        if lacking or n > len(names) or len(values) > len(names) or (given and not given.keys().isdisjoint(names[:n])):
            raise TypeError(wrong_arguments(type(self).__name__, _parameters(cls), n, given))
        for name, make in factories.items():
            if values[name] is MISSING:
                values[name] = make()
        self.__dict__.update(values)
        if finish is not None:
            finish(self)

    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in shown])})"

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __init__, __repr__, __setattr__, __delattr__


def _of_compared(fields: dict[str, Field[Any]]) -> tuple[Callable[..., Any], ...]:
    """Return the methods that read the fields by which objects are equal."""
    names = [name for name, field in fields.items() if field.compare]
    values: Callable[[dict[str, Any]], Any] = itemgetter(*names) if len(names) > 1 else _few(names)

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self.__dict__) == values(other.__dict__))

    def __hash__(self: Any) -> int:
        return hash(values(self.__dict__))

    return __eq__, __hash__


def _few(names: list[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return what ``itemgetter`` would for one name, or none, if it always made a tuple."""
    return lambda values: tuple([values[name] for name in names])
