"""What is wrong with a recipe, said with file, line, field, offending value and remedy."""

import difflib
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from common.errors import BadInput
from pipeline.yaml_lines import DataPath, Located, dotted


@dataclass(frozen=True)
class Problem:
    """One thing a person has to correct, at `path` in the recipe."""

    path: DataPath
    message: str
    remedy: str


def refuse(problems: Sequence[Problem], located: Located) -> BadInput:
    """All problems as one error, a line each."""
    lines = [f"{located.where(problem.path)}: {dotted(problem.path)}: {problem.message}" for problem in problems]
    remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
    return BadInput("\n".join(lines), "; ".join(remedies))


def nearest(word: str, known: Sequence[str]) -> str:
    """A remedy that offers the known names closest to `word`, or all of them."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"known are: {', '.join(known) or 'none'}"


def problems_of(error: ValidationError, located: Located, model: type[BaseModel]) -> list[Problem]:
    """Pydantic's findings in our words. `model` is what was validated from `located.data`."""
    return [_problem(detail, located.data, model) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails, data: Any, model: type[BaseModel]) -> Problem:
    path = _written_path(detail, data)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = known_fields(model, data, path[:-1])
        return Problem(path, f"unknown field {path[-1]!r}", nearest(str(path[-1]), known))
    if kind == "missing":
        return Problem(path, "is required", f"set {dotted(path)}")
    if kind == "union_tag_invalid":
        known = [tag.strip().strip("'") for tag in str(context["expected_tags"]).split(",")]
        field = _discriminator(context)
        return Problem((*path, field), f"unknown {field} {context['tag']!r}", nearest(str(context["tag"]), known))
    if kind == "union_tag_not_found":
        field = _discriminator(context)
        return Problem((*path, field), "is required", f"set {dotted((*path, field))}")
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    if isinstance(value, (dict, list)) and kind == "value_error":
        return Problem(path, message, "correct it")
    return Problem(path, f"{message[0].lower()}{message[1:]}, got {_short(value)}", "correct the value")


def _discriminator(context: dict[str, Any]) -> str:
    """The field that tells a union's members apart; a function that reads it (`_kind()`) is named after it."""
    return str(context["discriminator"]).strip("'").removeprefix("_").removesuffix("()")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _written_path(detail: ErrorDetails, data: Any) -> DataPath:
    """Pydantic's location without the names of union members, which nobody wrote."""
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
    """The field names, as written in a recipe, of the model that reads the value at `path` in `data`."""
    for part in path:
        annotation = _inside(annotation, data, part)
        data = data[part]
    return [field.alias or name for model in _models(annotation, data) for name, field in model.model_fields.items()]


def _inside(annotation: Any, data: Any, part: str | int) -> Any:
    """The annotation of the item or field `part` of a value."""
    members = []
    if isinstance(part, int):
        members = [item for option in _options(annotation) for item in get_args(option) if item is not Ellipsis]
    for model in _models(annotation, data):
        members += [field.annotation for name, field in model.model_fields.items() if part in (name, field.alias)]
    return Union[tuple(members)] if members else None  # noqa: UP007


def _options(annotation: Any) -> list[Any]:
    """The members of a union, whatever it is wrapped in."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    return [annotation]


def _models(annotation: Any, data: Any) -> list[type[BaseModel]]:
    """The models among the options whose literal fields (`kind`, `source`) agree with `data`."""
    models = [option for option in _options(annotation) if isinstance(option, type) and issubclass(option, BaseModel)]
    return [model for model in models if isinstance(data, dict) and _literals_agree(model, data)]


def _literals_agree(model: type[BaseModel], data: dict[str, Any]) -> bool:
    discriminators = [
        (name, get_args(field.annotation))
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]
    return all(name not in data or data[name] in values for name, values in discriminators)
