"""Field mapping: where the parts of an example are in a person's rows.

A field is a path or a template. A path names a column and what is inside it: `question`,
`answers.text.0`, `messages.-1.content`. A template is text with paths in braces:
`{passage}\\n\\nQuestion: {question}`. Light: configs check their values with it."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator

from common.config import Config, InvalidValue, Text
from prompts.bad_rows import BadRow

_EXAMPLE = 'write for example `"{passage} {question}"`, with {{ and }} for braces'


@lru_cache(maxsize=1024)
def template(text: str) -> tuple[tuple[str, str | None], ...]:
    """The parts of a template: literal text and the path after it, None for none. ValueError for
    anything but plain `{path}` fields."""
    try:
        parts = [(text_, name, spec, how) for text_, name, spec, how in Formatter().parse(text)]
    except ValueError as error:
        raise InvalidValue(f"is no template: {error}, got {text!r}", _EXAMPLE) from None
    for _, name, spec, conversion in parts:
        if name is not None and (spec or conversion or not name.strip()):
            raise InvalidValue(f"only plain {{path}} fields are allowed, got {text!r}", _EXAMPLE)
    return tuple((literal, name) for literal, name, _, _ in parts)


def _checked(text: str) -> str:
    if "{" in text or "}" in text:
        template(text)
    return text


RowField = Annotated[Text, AfterValidator(_checked)]
"""A path in a row, or a template over paths."""


def _checked_section(section: dict[str, Any]) -> dict[str, Any]:
    for name, field in section.items():
        if isinstance(field, dict):
            _checked_section(field)
        elif not isinstance(field, str) or not field.strip():
            message = f"{name} must be a path, a template or a section of these, got {field!r}"
            raise InvalidValue(message, f"write for example `{name}: test`")
        else:
            _checked(field)
    return section


RowSection = Annotated[dict[str, Any], AfterValidator(_checked_section)]
"""Names, each with a path or a template, or with a section of these."""


class RowFields(Config):
    """The fields of one kind of rows, each with its place in a person's rows. A kind of rows
    derives its own: `RowField`, or lists or sections of them, with defaults that name nothing."""

    def named(self) -> dict[str, Any]:
        """The fields that a recipe gives."""
        return self.model_dump(exclude_defaults=True)


def mapped(where: str, row: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `fields` in the row at `where`. Raises BadRow for a path that it lacks."""
    return {name: _value(where, row, name, spec) for name, spec in fields.items()}


def _value(where: str, row: Mapping[str, Any], name: str, spec: Any) -> Any:
    if isinstance(spec, Mapping):
        return {inner: _value(where, row, f"{name}.{inner}", one) for inner, one in spec.items()}
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return [_value(where, row, f"{name}.{index}", one) for index, one in enumerate(spec)]
    field = f"fields.{name}"
    if "{" not in spec and "}" not in spec:
        return at_path(where, row, spec, field)
    text = "".join(
        literal + ("" if path is None else _text(where, at_path(where, row, path, field), path))
        for literal, path in template(spec)
    )
    # An empty field, such as Alpaca's `input`, leaves no blank lines; indentation stays.
    return text.lstrip("\r\n").rstrip()


def at_path(where: str, row: Mapping[str, Any], path: str, field: str) -> Any:
    """The value at a path. A name of a list means the list of these values in its items; a text
    that has to be entered is read as JSON. `field` names in messages what gives the path."""
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        try:
            value = _inside(value, step)
        except (LookupError, TypeError, ValueError, RecursionError):
            has = f"the row has {', '.join(map(str, row))}"
            raise BadRow(
                where,
                f"the row has no {path!r}",
                f"correct `{field.partition('.')[0]}` in the recipe: {has}",
                field=field,
            ) from None
    return value


def _inside(value: Any, step: str) -> Any:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, Mapping):
        return value[step]
    if isinstance(value, list):
        if step.lstrip("-").isdigit():
            return value[int(step)]
        return [_inside(item, step) for item in value]
    raise TypeError


def _text(where: str, value: Any, path: str) -> str:
    """The value inside a template: a list of texts is one text per line, nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    raise BadRow(
        where,
        f"{path!r} is no text, and a template needs one",
        "name a text inside it, such as `{answers.text.0}`",
        field="fields",
    )
