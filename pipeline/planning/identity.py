"""What makes a stage itself: the part of its config that decides its result.

A field that has its default value is left out, so that a field added later leaves older runs as
they are. When a default changes, or the same settings come to mean something else, the kind's
`version` is raised instead, which makes its finished stages stale (`stages/declaration.py`).
Execution settings and places of files are no part of it; what the files hold is."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.files import checksum
from common.fingerprint import canonical
from pipeline.recipe.user_files import Read, held_by, named_files
from pipeline.recipe.yaml_lines import DataPath
from stages.declaration import StageConfig


def identity_of(config: StageConfig, seed: int, read: Read = checksum) -> dict[str, Any]:
    """Plain JSON, compared field by field: what differs from the defaults, kind, version and seed.

    `read` gives the checksum of a file of the user's."""
    held = {named.path: held_by(named, read) for named in named_files(config)}
    return {
        "config": essential(config, held),
        "kind": config.kind,
        "version": config.version,
        "seed": seed,
    }


def essential(value: Any, held: Mapping[DataPath, str] | None = None, path: DataPath = ()) -> Any:
    """`value` as plain JSON without the fields that have their defaults. `held` replaces what
    stands at some paths. The field that tells the members of a union apart always stays."""
    held = held or {}
    if path in held:
        return held[path]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {
            field.alias or name: essential(getattr(value, name), held, (*path, field.alias or name))
            for name, field in fields
            if _is_tag(field) or getattr(value, name) != _default(field)
        }
    if isinstance(value, tuple):
        return [essential(item, held, (*path, index)) for index, item in enumerate(value)]
    return canonical(value)


def _is_tag(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _default(field: FieldInfo) -> Any:
    """The value of a field that is left out; no value where it is required."""
    return ... if field.is_required() else field.get_default(call_default_factory=True)
