"""Reads YAML into plain data and keeps the line of every value.

Scalars follow YAML 1.2: `on` is a string and `1e-4` a number, which PyYAML's YAML 1.1 rules get
wrong. Keys are always text. Duplicate keys, anchors and aliases, and tags that build objects are
errors."""

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from common.errors import BadInput

DataPath = tuple[str | int, ...]
"""Path of a value in plain data, e.g. ("stages", 1, "epochs")."""

_SCALARS = {
    "tag:yaml.org,2002:null": re.compile(r"^(~|null|Null|NULL|)$"),
    "tag:yaml.org,2002:bool": re.compile(r"^(true|True|TRUE|false|False|FALSE)$"),
    "tag:yaml.org,2002:int": re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    "tag:yaml.org,2002:float": re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
}
_STRING = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 and without aliases."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Hashable) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not allowed",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)


for _tag, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)


@dataclass(frozen=True)
class Located:
    """Plain data, and for every path in it the place where it is written, e.g. `recipe.yaml:12`."""

    data: Any
    name: str
    """Name of the whole in messages, e.g. the file's path."""
    origins: dict[DataPath, str] = field(default_factory=dict)

    def where(self, path: DataPath) -> str:
        """The place of `path`, or of the nearest section around it that has one."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, self.name)


def dotted(path: DataPath) -> str:
    """A path as text: `stages[1].epochs`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the document"


def load_text(text: str, name: str) -> Located:
    """Parse one YAML document. BadInput states `name`, the line and the problem."""
    located = Located(data=None, name=name)
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = None if node is None else _plain(node, (), located)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(
            f"{name}{line}: {error.problem or error.context}", "correct the YAML there"
        ) from None
    except yaml.YAMLError as error:
        raise BadInput(f"{name}: not readable as YAML: {error}", "save it as UTF-8 text") from None
    except RecursionError:
        raise BadInput(f"{name}: nested too deeply", "use fewer levels; a few are enough") from None
    return Located(data=data, name=name, origins=located.origins)


def load_file(path: Path) -> Located:
    """Parse the YAML file at `path`. BadInput if it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file", "name an existing file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}", "name a readable UTF-8 file") from None
    return load_text(text, str(path))


def _plain(node: yaml.Node, path: DataPath, located: Located) -> Any:
    """The value of `node` as dict, list or scalar; records its line and those of its parts."""
    located.origins.setdefault(path, f"{located.name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        return _mapping(node, path, located)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_plain(item, (*path, index), located) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in {*_SCALARS, _STRING}:
        return _scalar(node)
    raise _refused(node, f"the tag {node.tag} is not allowed")


def _mapping(node: yaml.MappingNode, path: DataPath, located: Located) -> dict[str, Any]:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refused(key_node, "a key must be plain text")
        key, line = _text_of(key_node), key_node.start_mark.line + 1
        if key in values:
            raise _refused(
                key_node, f"{dotted((*path, key))}: key {key!r} is already set on line {lines[key]}"
            )
        lines[key] = line
        located.origins[*path, key] = f"{located.name}:{line}"
        values[key] = _plain(value_node, (*path, key), located)
    return values


def _scalar(node: yaml.ScalarNode) -> Any:
    kind, text = node.tag.rsplit(":", 1)[1], _text_of(node)
    if kind == "str":
        return text
    pattern = _SCALARS[node.tag]
    if not pattern.match(text):
        raise _refused(node, f"{text!r} is not a valid {kind}")
    if kind == "int":
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        if len(text) > 4000:
            raise _refused(node, "a number of more than 4000 digits")
        return int(text, base)
    if kind == "float":
        value = float(text)
        if not math.isfinite(value):
            raise _refused(node, f"the number {text} is too large")
        return value
    return text.lower() == "true" if kind == "bool" else None


def _text_of(node: yaml.ScalarNode) -> str:
    """The text of a scalar. Half of a surrogate pair, which an escape can produce, is refused: it
    cannot be written to a file."""
    text: str = node.value
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _refused(node, "a text with half of a surrogate pair")
    return text


def _refused(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
