"""Whether a mathematical answer is the reference: shapes are compared, and the values in them.

A point is compared in order, a set and several values in any; what is assigned to names is compared
by name. Values are numbers (`rewards.numbers`), words or expressions (`rewards.expressions`)."""

import re
from collections.abc import Sequence

from rewards.expressions import readable, same_value, words
from rewards.numbers import read_number
from rewards.shapes import Shape
from rewards.units import Unit, read_unit

_UNIT_BEHIND = re.compile(
    r"(.*[0-9})A-Za-z])\s+([A-Za-z]{2,}(?:"
    r" [A-Za-z]{2,}){0,3}(?:\s?\^\s?\{?[23]\}?)?(?:/[A-Za-z]+)?)\.?"
)


def same(reference: Shape, answer: Shape) -> bool:
    """Whether an answer is the reference."""
    reference, answer = _single(reference), _single(answer)
    if "named" in (reference.kind, answer.kind):
        return _same_named(reference, answer)
    if _assigns(reference):
        return _same_assignments(reference, answer)
    if _assigns(answer):
        values = [part.parts[0] for part in answer.parts]
        return (reference.kind, reference.text) == ("sequence", "()") and _in_order(
            reference.parts, values
        )
    if {reference.kind, answer.kind} <= {"several", "set"}:
        if {reference.text, answer.text} == {"or", "and"}:
            return False
        return _in_any_order(reference.parts, answer.parts)
    if reference.kind != answer.kind:
        return {reference.kind, answer.kind} == {"value", "sequence"} and same_value(
            _text(reference), _text(answer)
        )
    if reference.kind == "union":
        return _in_any_order(reference.parts, answer.parts)
    if reference.kind == "sequence":
        return reference.text == answer.text and _in_order(reference.parts, answer.parts)
    return _same_leaf(reference.text, answer.text)


def is_mathematics(shape: Shape) -> bool:
    """Whether every value in a shape can be read, as a number, an expression or a word."""
    if shape.kind != "value":
        return all(map(is_mathematics, shape.parts))
    return bool(read_number(shape.text, algebra=True) or words(shape.text) or readable(shape.text))


def _assigns(shape: Shape) -> bool:
    """Whether a shape gives values to several names."""
    return shape.kind == "several" and all(part.kind == "named" for part in shape.parts)


def _single(shape: Shape) -> Shape:
    """One value alone, also where it is written as the only one of a set."""
    alone = (
        shape.kind in ("several", "set") and len(shape.parts) == 1 and shape.parts[0].kind != "set"
    )
    return _single(shape.parts[0]) if alone else shape


def _same_named(reference: Shape, answer: Shape) -> bool:
    if reference.kind == answer.kind and reference.text == answer.text:
        return same(reference.parts[0], answer.parts[0])
    if reference.kind == answer.kind or any(
        "=" in _text(shape) for shape in (reference, answer) if shape.kind == "value"
    ):
        # `x+y=5` and `y=5-x` are one equation; `x=2` and `y=2` are not.
        return same_value(_text(reference), _text(answer))
    if reference.kind == "named":
        return same(reference.parts[0], answer)
    return same(reference, answer.parts[0])


def _same_assignments(reference: Shape, answer: Shape) -> bool:
    """`x=3, y=4` against the same by name, or against `(3,4)` and `3, 4`, in the reference's
    order."""
    if all(part.kind == "named" for part in answer.parts):
        values = {part.text: part.parts[0] for part in answer.parts}
        wanted = {part.text: part.parts[0] for part in reference.parts}
        return values.keys() == wanted.keys() and all(
            same(wanted[name], values[name]) for name in wanted
        )
    ordered = answer.kind == "several" or (answer.kind == "sequence" and answer.text == "()")
    return ordered and _in_order([part.parts[0] for part in reference.parts], answer.parts)


def _in_order(reference: Sequence[Shape], answer: Sequence[Shape]) -> bool:
    return len(reference) == len(answer) and all(map(same, reference, answer))


def _in_any_order(reference: Sequence[Shape], answer: Sequence[Shape]) -> bool:
    """Whether each part of one has a part of the other to itself; being equal is transitive, so the
    first will do."""
    left = list(answer)
    for wanted in reference:
        place = next((n for n, found in enumerate(left) if same(wanted, found)), None)
        if place is None:
            return False
        left.pop(place)
    return not left


def _same_leaf(reference: str, answer: str) -> bool:
    wanted, found = read_number(reference, algebra=True), read_number(answer, algebra=True)
    if wanted and found:
        return wanted.equals(found)
    (reference, wanted_unit), (answer, found_unit) = _unit_apart(reference), _unit_apart(answer)
    if wanted_unit and found_unit and wanted_unit != found_unit:
        return False
    if words(reference) or words(answer):
        return " ".join(reference.lower().split()) == " ".join(answer.lower().split())
    return same_value(reference, answer)


def _unit_apart(text: str) -> tuple[str, Unit | None]:
    """An expression and the unit behind it, as in `2\\sqrt{2} cm`."""
    match = _UNIT_BEHIND.fullmatch(text)
    unit = read_unit(match[2]) if match else None
    return (match[1], unit) if match and unit else (text, None)


def _text(shape: Shape) -> str:
    """A value, an equation or a sequence as one expression, for an interval against an
    inequality."""
    if shape.kind == "value":
        return shape.text
    if shape.kind == "named":
        return f"{shape.text}={_text(shape.parts[0])}"
    return shape.text[:1] + ",".join(map(_text, shape.parts)) + shape.text[1:]
