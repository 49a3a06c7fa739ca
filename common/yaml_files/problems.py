"""Reports problems of settings with file, line, field, offending value and remedy."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from common.config import InvalidValue
from common.errors import BadInput
from common.yaml_files.allowed import (
    Slot,
    as_yaml,
    describe,
    example,
    listed,
    options,
    slot_at,
    tag_field,
    tags,
)
from common.yaml_files.lines import DataPath, Located, dotted

_Settings = TypeVar("_Settings", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing to correct, at `path` in the settings."""

    path: DataPath
    message: str
    remedy: str


def refuse(problems: Sequence[Problem], located: Located) -> BadInput:
    """All problems as one error, one line each."""
    lines = [
        f"{located.where(problem.path)}: {dotted(problem.path)}: {problem.message}"
        for problem in problems
    ]
    remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
    return BadInput("\n".join(lines), "; ".join(remedies))


def nearest(word: str, known: Sequence[str]) -> str:
    """A remedy that offers the known names closest to `word`, or all of them."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"known are: {', '.join(known) or 'none'}"


def validated(located: Located, model: type[_Settings]) -> _Settings:
    """The settings as `model`. Raises one BadInput that lists all problems."""
    try:
        value = model.model_validate(located.data)
    except ValidationError as error:
        raise refuse(problems_of(error, located, model), located) from None
    if booleans := booleans_as_numbers(value, located.data):
        raise refuse(booleans, located)
    return value


def problems_of(error: ValidationError, located: Located, model: type[BaseModel]) -> list[Problem]:
    """Pydantic's errors as problems. `model` is the class that validated `located.data`."""
    details = [detail for detail in error.errors(include_url=False) if not _is_consequence(detail)]
    return [_problem(detail, located.data, model) for detail in details]


def booleans_as_numbers(
    value: Any, data: Any, path: DataPath = (), slot: Slot | None = None
) -> list[Problem]:
    """Booleans that the recipe has in place of numbers. Pydantic reads them as 1 and 0."""
    if isinstance(value, BaseModel) and isinstance(data, dict):
        names = {name: field.alias or name for name, field in type(value).model_fields.items()}
        parts = [
            (key, getattr(value, name), slot_at(type(value), (key,)))
            for name, key in names.items()
            if key in data
        ]
        return [
            problem
            for key, inner, inner_slot in parts
            for problem in booleans_as_numbers(inner, data[key], (*path, key), inner_slot)
        ]
    if isinstance(value, tuple) and isinstance(data, list):
        pairs = enumerate(zip(value, data, strict=True))
        return [
            problem
            for index, (inner, raw) in pairs
            for problem in booleans_as_numbers(inner, raw, (*path, index), slot)
        ]
    if isinstance(value, dict) and isinstance(data, dict):
        return [
            problem
            for key, inner in value.items()
            for problem in booleans_as_numbers(inner, data[key], (*path, key), slot)
        ]
    if slot is None or not isinstance(data, bool) or isinstance(value, bool):
        return []
    message = f"must be {describe(slot)}, got {_short(data)}"
    return [Problem(path, message, _how(slot, path, data))]


def _is_consequence(detail: ErrorDetails) -> bool:
    """Whether a list is only too short because its invalid items, reported separately, do not
    count."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _problem(detail: ErrorDetails, data: Any, model: type[BaseModel]) -> Problem:
    path = _written_path(detail, data)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = known_fields(model, data, path[:-1])
        return Problem(path, f"unknown field {path[-1]!r}", nearest(str(path[-1]), known))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(detail, path, slot_at(model, detail["loc"]))
    slot = slot_at(model, detail["loc"])
    if kind == "missing":
        return Problem(
            path, f"is required: {describe(slot)}", f"set {dotted(path)}, {_such_as(slot, path)}"
        )
    if kind == "value_error":
        return _of_validator(detail, path, slot)
    return Problem(
        path,
        f"must be {describe(slot)}, got {_short(detail['input'])}",
        _how(slot, path, detail["input"]),
    )


def _unknown_kind(detail: ErrorDetails, path: DataPath, slot: Slot) -> Problem:
    """A section whose `kind` or `source` is missing or unknown, or a value that is no section."""
    members, value = options(slot.annotation), detail["input"]
    field, known = tag_field(members[0]), [str(tag) for option in members for tag in tags(option)]
    if not isinstance(value, dict):
        message = f"must be {describe(slot)}, got {_short(value)}"
        return Problem(path, message, _how(slot, path, value))
    if detail["type"] == "union_tag_invalid":
        return Problem(
            (*path, field),
            f"unknown {field} {_short(value.get(field))}",
            nearest(str(value.get(field)), known),
        )
    return Problem(
        (*path, field), f"is required: {listed(known)}", f"set {dotted((*path, field))}: {known[0]}"
    )


def _of_validator(detail: ErrorDetails, path: DataPath, slot: Slot) -> Problem:
    """An error of one of our validators. It has a remedy, or names the fields that contradict each
    other."""
    error, value = detail["ctx"]["error"], detail["input"]
    message = str(error)
    if not isinstance(value, (dict, list)) and "got" not in message:
        message = f"{message}, got {_short(value)}"
    remedy = error.remedy if isinstance(error, InvalidValue) else ""
    whole = isinstance(value, dict)
    return Problem(
        path,
        message,
        remedy or ("change one of the fields that it names" if whole else _how(slot, path, value)),
    )


def _how(slot: Slot, path: DataPath, value: Any) -> str:
    """The remedy: how to write an allowed value."""
    names = [
        name
        for option in options(slot.annotation)
        if get_origin(option) is Literal
        for name in get_args(option)
    ]
    close = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    if close:
        return f"did you mean {close[0]!r}?"
    if str in options(slot.annotation) and isinstance(value, (int, float)):
        return f'{dotted(path)}: write it in quotes: "{_short(value)}"'
    leave = ", or leave it out" if slot.optional and value is None else ""
    return f"{dotted(path)}: write {_such_as(slot, path)}{leave}"


def _such_as(slot: Slot, path: DataPath) -> str:
    name = str(path[-1]) if path and isinstance(path[-1], str) else ""
    return f"for example `{as_yaml(example(slot), name)}`"


def _short(value: Any) -> str:
    """A value as the recipe's author wrote it, at most 80 characters."""
    text = as_yaml(value) if value is None or isinstance(value, (bool, list, dict)) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _written_path(detail: ErrorDetails, data: Any) -> DataPath:
    """Pydantic's location without the names of union members, which are not in the recipe."""
    path: list[str | int] = []
    location = detail["loc"]
    for index, part in enumerate(location):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif not (index == len(location) - 1 and detail["type"] == "missing"):
            continue
        path.append(part)
    return tuple(path)


def known_fields(annotation: Any, data: Any, path: DataPath) -> list[str]:
    """The field names, as written in a recipe, of the model that reads the value at `path` in
    `data`."""
    for part in path:
        annotation = _inside(annotation, data, part)
        data = data[part]
    return [
        field.alias or name
        for model in _models(annotation, data)
        for name, field in model.model_fields.items()
    ]


def _inside(annotation: Any, data: Any, part: str | int) -> Any:
    """The annotation of the item or field `part` of a value."""
    members = []
    if isinstance(part, int):
        members = [
            item
            for option in options(annotation)
            for item in get_args(option)
            if item is not Ellipsis
        ]
    members += [get_args(option)[1] for option in options(annotation) if get_origin(option) is dict]
    for model in _models(annotation, data):
        members += [
            field.annotation
            for name, field in model.model_fields.items()
            if part in (name, field.alias)
        ]
    return Union[tuple(members)] if members else None  # noqa: UP007


def _models(annotation: Any, data: Any) -> list[type[BaseModel]]:
    """The models among the options whose literal fields (`kind`, `source`) agree with `data`."""
    models = [
        option
        for option in options(annotation)
        if isinstance(option, type) and issubclass(option, BaseModel)
    ]
    return [model for model in models if isinstance(data, dict) and _literals_agree(model, data)]


def _literals_agree(model: type[BaseModel], data: dict[str, Any]) -> bool:
    discriminators = [
        (name, get_args(field.annotation))
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]
    return all(name not in data or data[name] in values for name, values in discriminators)
