"""A value of the document together with its place in it, for templates.

Whatever a template shows is reached through these. So the page can say of every number where it is
in the document (`data-key`, a JSON pointer, RFC 6901), and no text is markup or hides anything."""

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from report.formats import formatted
from report.visible import visible


class At:
    """A value and its JSON pointer. `at.name` and `at["name"]` are the parts of an object, and
    looping gives those of a list; what is missing is an At of None."""

    __slots__ = ("_pointer", "_value")

    def __init__(self, value: Any, pointer: str = "") -> None:
        self._value, self._pointer = value, pointer

    def __getitem__(self, name: str | int) -> "At":
        step = str(name).replace("~", "~0").replace("/", "~1")
        value = self._value
        if isinstance(value, list):
            return At(value[int(name)], f"{self._pointer}/{step}")
        own = value.get(name) if isinstance(value, dict) else None
        return At(own, f"{self._pointer}/{step}")

    def __getattr__(self, name: str) -> "At":
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator["At"]:
        return (self[place] for place in range(len(self)))

    def __len__(self) -> int:
        return len(self._value) if isinstance(self._value, list | dict) else 0

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return bool(self._value == (other._value if isinstance(other, At) else other))

    def __hash__(self) -> int:
        return hash(self._pointer)

    def __str__(self) -> str:
        return "" if self._value is None else visible(str(self._value))

    def __html__(self) -> str:
        return str(escape(str(self)))


def plain(at: At) -> Any:
    """The value itself."""
    return at._value


def pairs(at: At) -> list[tuple[str, At]]:
    """The names and parts of an object."""
    return [(visible(name), at[name]) for name in at._value or {}]


def marks(at: At, format: str) -> Markup:
    """The attributes of an element that shows a number."""
    value = "" if at._value is None else repr(at._value)
    return Markup(' data-key="{}" data-value="{}" data-format="{}"').format(
        visible(at._pointer), value, format
    )


def num(at: At, format: str) -> Markup:
    """A number in a text."""
    return Markup('<span class="num"{}>{}</span>').format(
        marks(at, format), formatted(at._value, format)
    )


def cell(at: At, format: str) -> Markup:
    """A number as a cell of a table."""
    return Markup('<td class="num"{}>{}</td>').format(
        marks(at, format), formatted(at._value, format)
    )
