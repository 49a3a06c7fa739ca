"""Reads the constraints of a prompt: `metadata.instructions`, or IFEval's own columns.

An unknown id, an argument too many or too few, or a wrong value is refused, never left out."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from prompts.schema import Prompt
from rewards.instructions import keywords, lengths, letters, lists, structure, wording
from rewards.instructions.constraint import Constraint
from rewards.interface import BadPrompt

CONSTRAINTS: dict[str, type[Constraint]] = {
    kind.id: kind
    for module in (lengths, keywords, letters, lists, structure, wording)
    for kind in module.ALL
}
"""Every kind of constraint by its id."""
_EXAMPLE = (
    'write for example "metadata": {"instructions": [{"id": "length_constraints:number_words",'
    ' "relation": "at least", "num_words": 100}]}'
)


def constraints_of(prompt: Prompt) -> list[Constraint]:
    """The constraints of a prompt, in its order. Raises BadPrompt with what is wrong."""
    return [_constraint(number, entry) for number, entry in enumerate(_entries(prompt), start=1)]


def _entries(prompt: Prompt) -> list[dict[str, Any]]:
    """The constraints as objects with `id` and arguments, from either form."""
    given = prompt.metadata.get("instructions")
    if given is None and "instruction_id_list" in prompt.metadata:
        given = prompt.metadata
    if given is None:
        raise BadPrompt("has no `instructions` in its metadata", _EXAMPLE)
    if isinstance(given, Mapping):
        given = _published(given)
    if not isinstance(given, list) or not given:
        raise BadPrompt(f"has `instructions` that are no list of objects: {given!r:.80}", _EXAMPLE)
    return given


def _published(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The form in which IFEval and IFBench are published: ids, and a list of arguments of which
    those that an id does not have are null."""
    ids, arguments = given.get("instruction_id_list"), given.get("kwargs")
    example = 'write for example {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}'
    if not isinstance(ids, list) or not isinstance(arguments, list) or len(ids) != len(arguments):
        raise BadPrompt(
            "has `instructions` without `instruction_id_list` and `kwargs` of equal length", example
        )
    wrong = [one for one in arguments if not isinstance(one, Mapping | None)]
    if wrong:
        raise BadPrompt(f"has in `kwargs` what is no object: {wrong[0]!r:.80}", example)
    return [
        {"id": name, **{key: value for key, value in (one or {}).items() if value is not None}}
        for name, one in zip(ids, arguments, strict=True)
    ]


def _constraint(number: int, entry: Any) -> Constraint:
    place = f"has an instruction {number}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
        raise BadPrompt(f"{place} without an `id`: {entry!r:.80}", _EXAMPLE)
    arguments = {key: value for key, value in entry.items() if key != "id"}
    kind = CONSTRAINTS.get(entry["id"])
    if kind is None:
        raise BadPrompt(f"{place} of an unknown id, {entry['id']!r:.60}", _near(entry["id"]))
    try:
        return kind.model_validate(arguments)
    except ValidationError as error:
        raise BadPrompt(
            f"{place}, {kind.id}, with a wrong argument: {_problem(error)}", _written(kind)
        ) from error


def _near(name: str) -> str:
    """The ids that `name` may stand for: by the whole, or by what follows the colon."""
    near = get_close_matches(name, CONSTRAINTS, n=3, cutoff=0.6)
    ends = {known.partition(":")[2]: known for known in CONSTRAINTS}
    tail = get_close_matches(name.rpartition(":")[2], ends, n=3, cutoff=0.6)
    found = list(dict.fromkeys([*near, *(ends[end] for end in tail)]))[:3]
    hint = f"did you mean {' or '.join(found)}? " if found else ""
    return f"{hint}docs/instructions.md lists the ids"


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"`{name}` is missing"
    if first["type"] == "extra_forbidden":
        return f"it has no `{name}`"
    text = first["msg"].removeprefix("Value error, ")
    return f"`{name}`: {text[:1].lower()}{text[1:]}, got {first['input']!r:.60}"


def _written(kind: type[Constraint]) -> str:
    arguments = f", {kind.example}" if kind.example else ""
    return f'write for example {{"id": "{kind.id}"{arguments}}}'
