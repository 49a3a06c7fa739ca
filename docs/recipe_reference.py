"""Writes docs/recipe.md: every field of a recipe, from the classes that read it.

    .venv/bin/python docs/recipe_reference.py            # write docs/recipe.md
    .venv/bin/python docs/recipe_reference.py --check    # exit code 1 if the file is out of date

A field's text is the docstring under it. A class that several kinds of a section derive from gets
a section of its own, so that its fields are listed once."""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.config import Config
from common.yaml_files.allowed import Slot, as_yaml, describe, listed, options, tag_field, tags
from pipeline.recipe.schema import Recipe

Classes = tuple[type[BaseModel], ...]
"""What a field may hold: one section, or the kinds of a union."""
PAGE = Path(__file__).parent / "recipe.md"
WIDTH = 116
INTRO = (
    "# Recipe reference",
    "Every field of a recipe, generated from the code by `docs/recipe_reference.py`. Do not edit"
    " this file by hand.",
    "A recipe is one YAML file. It is read strictly: an unknown field, a duplicate key or a value"
    " out of range is an error that names file, line and remedy. Paths are relative to the recipe's"
    " folder. `uphill check RECIPE` validates a recipe and prints it with every default filled in."
    " [Getting started](getting_started.md#the-recipe) explains how the sections fit together.",
)


@dataclass
class Section:
    """One heading of the page."""

    label: str
    """The heading, in Markdown."""
    level: int
    text: str = ""
    """What stands below the heading, before the fields."""
    fields: list[tuple[str, FieldInfo]] = field(default_factory=list)
    """Names as written in a recipe."""
    used_in: list[str] = field(default_factory=list)
    """Labels of the sections with a field that holds this one."""
    kinds: list[str] = field(default_factory=list)
    """Labels of the sections to choose one from."""
    shared: list[str] = field(default_factory=list)
    """Labels of the sections whose fields may stand here too."""


class Page:
    """The sections of a page in the order in which the fields mention them."""

    def __init__(self, recipe: type[BaseModel]) -> None:
        self.sections: dict[str, Section] = {}
        self.labels: dict[tuple[type[BaseModel], ...], str] = {}
        self.top = {name: classes_in(info.annotation) for name, info in fields_of(recipe)}
        """The sections of the top level, which keep their plain names."""
        top = self._add(Section("Top level", 2, fields=fields_of(recipe)))
        self._visit_fields(top, prefix="", level=2)

    def label_of(self, annotation: Any) -> str:
        """The section that says what may stand there; empty if it is no section."""
        return self.labels.get(classes_in(annotation), "")

    def _add(self, section: Section) -> Section:
        return self.sections.setdefault(section.label, section)

    def _visit_fields(self, section: Section, prefix: str, level: int) -> None:
        for name, info in section.fields:
            classes = classes_in(info.annotation)
            if not classes:
                continue
            if classes not in self.labels:
                path = f"{prefix}{name}"
                taken = f"`{path}`" in self.sections or self.top.get(path, classes) != classes
                label = f"`{path}` of {section.label}" if taken else f"`{path}`"
                self._visit(classes, label, path, level)
            self.sections[self.labels[classes]].used_in.append(section.label)

    def _visit(self, classes: Classes, label: str, path: str, level: int) -> None:
        self.labels[classes] = label
        if len(classes) > 1:
            self._visit_union(classes, label, level)
            return
        model = classes[0]
        section = self._add(Section(label, level, docstring(model), fields_of(model)))
        self._visit_fields(section, f"{path}.", level=3)

    def _visit_union(self, classes: Classes, group_label: str, level: int) -> None:
        """Add a section that lists the kinds, then one for each base that several kinds share,
        then one for each kind."""
        group = self._add(Section(group_label, level))
        shared = shared_bases(classes)
        labels = {models: f"{group_label}: {sharers_words(models, classes)}" for models in shared}
        for models, bases in shared.items():
            wider = [labels[other] for other in shared if set(other) > set(models)]
            fields = {name: info for base in bases for name, info in own_fields(base)}
            fields.pop(tag_field(models[0]), None)
            section = Section(labels[models], 3, docstring(bases[-1]), [*fields.items()])
            section.shared = wider
            self._visit_fields(self._add(section), "", level=3)
        for member in classes:
            tag = tag_field(member)
            names = tags(member)
            others = " and others" if len(names) > 1 else ""
            label = f"{group_label}: `{tag}: {names[0]}`{others}"
            group.kinds.append(label)
            apart = {base for bases in shared.values() for base in bases}
            fields = {
                name: info
                for name, info in fields_of(member)
                if name != tag and _owner(member, info) not in apart
            }
            section = Section(label, 3, docstring(member), [*fields.items()])
            section.shared = [labels[models] for models in shared if member in models]
            self._visit_fields(self._add(section), "", level=3)


def _owner(model: type[BaseModel], info: FieldInfo) -> type:
    """The class that declares a field: the nearest one, if several do."""
    name = next(name for name, field in model.model_fields.items() if field is info)
    return next(cls for cls in model.__mro__ if name in inspect.get_annotations(cls))


def classes_in(annotation: Any) -> Classes:
    """The sections that a field may hold, itself or as its items."""
    classes: list[type[BaseModel]] = []
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            classes.append(option)
        elif get_origin(option) not in (None, type):
            classes += [model for part in get_args(option) for model in classes_in(part)]
    return tuple(dict.fromkeys(classes))


def fields_of(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(info.alias or name, info) for name, info in model.model_fields.items()]


def own_fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """Those that the class declares itself."""
    own = inspect.get_annotations(model)
    return [(i.alias or name, i) for name, i in model.model_fields.items() if name in own]


def shared_bases(classes: Classes) -> dict[Classes, list[type[BaseModel]]]:
    """Sets of at least two of the classes, each with the bases with fields of their own that these,
    and no others, derive from. Large sets come first, and general bases before derived ones."""
    heirs: dict[type[BaseModel], list[type[BaseModel]]] = {}
    for model in classes:
        for base in model.__mro__[1:]:
            if issubclass(base, Config) and base is not Config and own_fields(base):
                heirs.setdefault(base, []).append(model)
    shared: dict[Classes, list[type[BaseModel]]] = {}
    for base in sorted(heirs, key=lambda base: len(base.__mro__)):
        if len(heirs[base]) > 1:
            shared.setdefault(tuple(heirs[base]), []).append(base)
    return dict(sorted(shared.items(), key=lambda item: -len(item[0])))


def sharers_words(models: Classes, classes: Classes) -> str:
    """Which kinds share fields, for the heading."""
    if len(models) == len(classes):
        return "fields of all"
    others = [model for model in classes if model not in models]
    if len(others) == 1 and len(models) > 3:
        return f"fields of all but `{tags(others[0])[0]}`"
    return f"fields of {listed([f'`{tag}`' for model in models for tag in tags(model)], 'and')}"


def docstring(model: type[BaseModel]) -> str:
    """The class's own docstring; empty where it has none."""
    return textwrap.dedent(model.__dict__.get("__doc__") or "").strip()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def link(label: str) -> str:
    """A link to a section of the page."""
    return f"[{label}](#{slug(label)})"


def type_words(page: Page, info: FieldInfo) -> str:
    """What may stand there; of a section, where its fields are listed."""
    label = page.label_of(info.annotation)
    if not label:
        slot = Slot(info.annotation, tuple(info.metadata), info.alias or "", info)
        return describe(slot).replace("a text that is not blank", "a text")
    option = next(one for one in options(info.annotation) if one is not type(None))
    if get_origin(option) is tuple:
        least = any(isinstance(limit, at.MinLen) and limit.min_length for limit in info.metadata)
        return f"a list{' of at least one item' if least else ''}, each item {link(label)}"
    if get_origin(option) is not None:
        return f"a section of names, each with {link(label)}"
    return f"a section {link(label)}"


def default_words(info: FieldInfo) -> str:
    """`required`, or the default as one writes it."""
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "not set by default"
    if isinstance(value, BaseModel):
        tag = tag_field(type(value))
        chosen = {tag: getattr(value, tag)} if tag else {}
        changed = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return f"default `{as_yaml(chosen | changed)}`" if chosen | changed else "has defaults"
    plain = list(value) if isinstance(value, tuple) else value
    return f"default `{as_yaml(plain)}`" if plain not in ([], {}) else "empty by default"


def wrapped(text: str, indent: str = "") -> str:
    """One paragraph, its lines broken at WIDTH; `indent` goes before all lines but the first."""
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def section_lines(page: Page, section: Section) -> Iterator[str]:
    """The section as paragraphs, a list of fields last."""
    yield f"{'#' * section.level} {section.label}"
    for paragraph in re.split(r"\n\s*\n", section.text):
        if paragraph:
            yield wrapped(paragraph)
    if section.used_in and section.level > 2:
        places = dict.fromkeys(map(link, section.used_in))
        yield wrapped(f"Used in {listed(list(places), 'and')}.")
    if section.kinds:
        yield "One of these:"
        yield "\n".join(f"- {link(label)}" for label in section.kinds)
    if section.shared:
        also = "Also takes" if section.fields else "Takes"
        yield wrapped(f"{also} {listed(list(map(link, section.shared)), 'and')}.")
    if section.fields:
        yield "\n".join(entry(page, name, info) for name, info in section.fields)


def entry(page: Page, name: str, info: FieldInfo) -> str:
    """One field: name, what it may hold, default, meaning."""
    head = f"- **`{name}`** ({type_words(page, info)}; {default_words(info)})"
    return wrapped(f"{head}: {escaped(info.description or '')}", indent="  ")


def escaped(text: str) -> str:
    """`<` outside code would begin an HTML tag."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)


def render(recipe: type[BaseModel] = Recipe) -> str:
    """The whole page."""
    page = Page(recipe)
    sections = list(page.sections.values())
    contents = "\n".join(f"{'  ' * (s.level - 2)}- {link(s.label)}" for s in sections)
    body = [part for section in sections for part in section_lines(page, section)]
    return "\n\n".join([*map(wrapped, INTRO), contents, *body]) + "\n"


def main() -> None:
    text = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"{PAGE.name} is out of date: run `.venv/bin/python docs/recipe_reference.py`")


if __name__ == "__main__":
    main()
