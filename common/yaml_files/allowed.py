"""What a field of a recipe may hold: a description and an example, derived from its type."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

SECTION_EXAMPLES: Mapping[str, Any] = {
    "ModelConfig": {"upcycle": "smollm2-135m-instruct"},
    "AttemptsJudge": {"kind": "attempts", "model": "smollm2-135m-instruct"},
    "PairSource": {"path": "my_pairs.jsonl"},
    "SuiteConfig": "held_out",
    "RubricPart": {"verifier": "rubric", "model": "smollm2-135m-instruct"},
    "ComparePart": {"verifier": "compare", "model": "smollm2-135m-instruct"},
    "Uniform": {"kind": "posterior"},
}
"""Class name to an example, where the required fields alone do not make one."""
_BOUNDS = (
    (at.Gt, "gt", "greater than"),
    (at.Ge, "ge", "of at least"),
    (at.Lt, "lt", "less than"),
    (at.Le, "le", "at most"),
)


@dataclass(frozen=True)
class Slot:
    """A place for a value: its type, the limits on it, and the field that it is or is an item
    of."""

    annotation: Any
    limits: tuple[Any, ...] = ()
    name: str = ""
    field: FieldInfo | None = None
    shown: Any = None
    """For an item: the example of the field that contains it."""

    @property
    def optional(self) -> bool:
        """Whether the field has a default."""
        return self.field is not None and not self.field.is_required()


def slot_at(model: type[BaseModel], location: Sequence[str | int]) -> Slot:
    """The slot at pydantic's `location`, which also contains the names of union members."""
    slot = Slot(model)
    for part in location:
        slot = _child(slot, part) or slot
    return slot


def _child(slot: Slot, part: str | int) -> Slot | None:
    """The slot of one field or item; None if `part` only names the member of a union."""
    members = options(slot.annotation)
    for option in members:
        if isinstance(option, type) and issubclass(option, BaseModel):
            if len(members) > 1 and part in tags(option):
                return Slot(option, (), slot.name, slot.field)
            for name, field in option.model_fields.items():
                if part in (name, field.alias):
                    return Slot(field.annotation, tuple(field.metadata), field.alias or name, field)
        elif isinstance(part, int) and get_origin(option) is tuple:
            return Slot(get_args(option)[0], (), slot.name, shown=_shown_in(slot))
        elif isinstance(part, str) and get_origin(option) in (dict, Mapping):
            return Slot(get_args(option)[1], (), part)
    return None


def options(annotation: Any) -> list[Any]:
    """The members of a union, also inside `Annotated`; otherwise the type itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in options(member)]
    return [annotation]


def tags(model: type[BaseModel]) -> list[Any]:
    """The values of the model's discriminator field; empty if it has none."""
    field = model.model_fields.get(tag_field(model))
    return list(get_args(field.annotation)) if field is not None else []


def tag_field(model: type[BaseModel]) -> str:
    """The name of the discriminator: the field whose type is a literal with one value, otherwise
    the required one that has several."""
    literals = {
        name: field
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    single = [name for name, one in literals.items() if len(get_args(one.annotation)) == 1]
    required = [name for name, one in literals.items() if one.is_required()]
    return next(iter([*single, *required]), "")


def describe(slot: Slot) -> str:
    """The allowed values in words, to follow "must be"."""
    choices = [option for option in options(slot.annotation) if option is not type(None)]
    if len(choices) > 1 and not all(_is_section(option) for option in choices):
        return listed([describe(Slot(option)) for option in choices])
    if len(choices) > 1:
        return (
            f"a section whose {tag_field(choices[0])} is"
            f" {listed([tag for option in choices for tag in tags(option)])}"
        )
    limits = (*_annotated(slot.annotation), *slot.limits)
    option, origin = choices[0], get_origin(choices[0])
    if origin is Literal:
        return listed(get_args(option))
    if origin is tuple:
        return _describe_list(option, limits)
    if origin in (dict, Mapping):
        inner = get_args(option)[1]
        return (
            "a section of names and values"
            if inner is Any
            else f"a section of names, each with {describe(Slot(inner))}"
        )
    if isinstance(option, type) and issubclass(option, BaseModel):
        return f"a section with {_describe_fields(option)}"
    plain = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text that is not blank",
    }
    return f"{plain.get(option, 'a value')}{_bounds(limits)}"


def _is_section(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _describe_list(option: Any, limits: tuple[Any, ...]) -> str:
    items = get_args(option)
    least = max((limit.min_length for limit in limits if isinstance(limit, at.MinLen)), default=0)
    if items[-1] is not Ellipsis:
        return f"a list of {len(items)} items, each {describe(Slot(items[0]))}"
    return f"a list{' of at least one item' if least else ''}, each item {describe(Slot(items[0]))}"


def _annotated(annotation: Any) -> tuple[Any, ...]:
    """The limits inside an annotation, including those of a `Field(...)`."""
    if get_origin(annotation) is not Annotated:
        return ()
    given = get_args(annotation)[1:]
    return tuple(
        limit for one in given for limit in (one.metadata if isinstance(one, FieldInfo) else (one,))
    )


def _bounds(limits: tuple[Any, ...]) -> str:
    phrases = [
        f"{text} {getattr(limit, name):g}"
        for limit in limits
        for kind, name, text in _BOUNDS
        if type(limit) is kind
    ]
    return f" {' and '.join(phrases)}" if phrases else ""


def _required(model: type[BaseModel]) -> list[str]:
    return [
        field.alias or name for name, field in model.model_fields.items() if field.is_required()
    ]


def _describe_fields(model: type[BaseModel]) -> str:
    """The required fields, or the first three if none is required."""
    required = _required(model)
    return (
        listed(required, "and")
        if required
        else f"fields such as {', '.join(list(model.model_fields)[:3])}"
    )


def listed(names: Sequence[Any], conjunction: str = "or") -> str:
    """`a, b or c`."""
    texts = list(map(str, names))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"


def example(slot: Slot) -> Any:
    """A valid value."""
    choices = [option for option in options(slot.annotation) if option is not type(None)]
    option, origin = choices[0], get_origin(choices[0])
    default = slot.field.default if slot.field is not None else PydanticUndefined
    scalar = (
        default is not PydanticUndefined
        and isinstance(default, (bool, int, float, str, tuple))
        and default != ()
    )
    if scalar:
        return list(default) if isinstance(default, tuple) else default
    if isinstance(option, type) and issubclass(option, BaseModel):
        return _section(option)
    if origin is Literal:
        return get_args(option)[0]
    if slot.field is not None and slot.field.examples:
        return slot.field.examples[0]
    if origin is tuple:
        return [example(Slot(get_args(option)[0], (), slot.name, shown=_shown_in(slot)))]
    if origin in (dict, Mapping):
        return {"arithmetic": example(Slot(get_args(option)[1]))}
    return _plain(option, slot)


def _shown_in(slot: Slot) -> Any:
    """The field's own example, from which its items take theirs."""
    return slot.field.examples[0] if slot.field is not None and slot.field.examples else slot.shown


def _plain(option: Any, slot: Slot) -> Any:
    """An item of a list or section: the first one in the field's example, if its type fits."""
    shown = slot.shown
    first = shown[0] if isinstance(shown, list) else shown
    fallback = {bool: True, int: 1, float: 0.5}.get(option, "words")
    return first if isinstance(first, type(fallback)) else fallback


def _section(model: type[BaseModel]) -> Any:
    if model.__name__ in SECTION_EXAMPLES:
        return SECTION_EXAMPLES[model.__name__]
    shown = _required(model) or list(model.model_fields)[:1]
    slots = {name: _child(Slot(model), name) for name in shown}
    return {name: example(slot) for name, slot in slots.items() if slot is not None}


def as_yaml(value: Any, name: str = "") -> str:
    """The value as YAML on one line, after `name:` if a name is given."""
    text: str = yaml.safe_dump(
        [value], default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True
    )
    return f"{name}: {text.strip()[1:-1]}" if name else text.strip()[1:-1]
