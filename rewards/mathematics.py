"""Whether a mathematical answer equals the reference: their structures and the values in them.

The parts of a point are compared in order, those of a set and several values in any order, and
assignments by name. Values are numbers (`rewards.numbers`), words or expressions
(`rewards.expressions`)."""

import re
from collections.abc import Sequence

from rewards.expressions import readable, same_value, words
from rewards.numbers import read_number
from rewards.structures import Structure
from rewards.units import Unit, read_unit

_UNIT_BEHIND = re.compile(
    r"(.*[0-9})A-Za-z])\s+([A-Za-z]{2,}(?:"
    r" [A-Za-z]{2,}){0,3}(?:\s?\^\s?\{?[23]\}?)?(?:/[A-Za-z]+)?)\.?"
)


def same(reference: Structure, answer: Structure) -> bool:
    """Whether an answer equals the reference."""
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


def is_mathematics(structure: Structure) -> bool:
    """Whether every value in a structure can be read, as a number, an expression or a word."""
    if structure.kind != "value":
        return all(map(is_mathematics, structure.parts))
    return bool(
        read_number(structure.text, algebra=True)
        or words(structure.text)
        or readable(structure.text)
    )


def _assigns(structure: Structure) -> bool:
    """Whether a structure assigns values to several names."""
    return structure.kind == "several" and all(part.kind == "named" for part in structure.parts)


def _single(structure: Structure) -> Structure:
    """A single value; that of a set of one value is the value itself."""
    alone = (
        structure.kind in ("several", "set")
        and len(structure.parts) == 1
        and structure.parts[0].kind != "set"
    )
    return _single(structure.parts[0]) if alone else structure


def _same_named(reference: Structure, answer: Structure) -> bool:
    if reference.kind == answer.kind and reference.text == answer.text:
        return same(reference.parts[0], answer.parts[0])
    if reference.kind == answer.kind or any(
        "=" in _text(structure) for structure in (reference, answer) if structure.kind == "value"
    ):
        # `x+y=5` and `y=5-x` are one equation; `x=2` and `y=2` are not.
        return same_value(_text(reference), _text(answer))
    if reference.kind == "named":
        return same(reference.parts[0], answer)
    return same(reference, answer.parts[0])


def _same_assignments(reference: Structure, answer: Structure) -> bool:
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


def _in_order(reference: Sequence[Structure], answer: Sequence[Structure]) -> bool:
    return len(reference) == len(answer) and all(map(same, reference, answer))


def _in_any_order(reference: Sequence[Structure], answer: Sequence[Structure]) -> bool:
    """Whether each part of one pairs with a part of the other. Equality is transitive, so the first
    equal part will do."""
    left = list(answer)
    for wanted in reference:
        index = next((n for n, part in enumerate(left) if same(wanted, part)), None)
        if index is None:
            return False
        left.pop(index)
    return not left


def _same_leaf(reference: str, answer: str) -> bool:
    wanted, given = read_number(reference, algebra=True), read_number(answer, algebra=True)
    if wanted and given:
        return wanted.equals(given)
    (reference, wanted_unit), (answer, given_unit) = _split_unit(reference), _split_unit(answer)
    if wanted_unit and given_unit and wanted_unit != given_unit:
        return False
    if words(reference) or words(answer):
        return " ".join(reference.lower().split()) == " ".join(answer.lower().split())
    return same_value(reference, answer)


def _split_unit(text: str) -> tuple[str, Unit | None]:
    """An expression and the unit after it, as in `2\\sqrt{2} cm`."""
    match = _UNIT_BEHIND.fullmatch(text)
    unit = read_unit(match[2]) if match else None
    return (match[1], unit) if match and unit else (text, None)


def _text(structure: Structure) -> str:
    """A value, an equation or a sequence as one expression, to compare an interval with an
    inequality."""
    if structure.kind == "value":
        return structure.text
    if structure.kind == "named":
        return f"{structure.text}={_text(structure.parts[0])}"
    return structure.text[:1] + ",".join(map(_text, structure.parts)) + structure.text[1:]
