"""The identity of a stage: the part of its config that decides its result.

Fields with default values are left out, so that adding a field does not make finished stages stale.
When a default changes, or settings change their meaning, the kind's `version` is raised, which
makes its finished stages stale (`stages/declaration.py`); a packaged suite has a version of its
own. The identity contains the content of files, not their paths, and no execution settings."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.files import checksum
from common.fingerprint import canonical
from common.yaml_files.lines import DataPath
from pipeline.recipe.user_files import ReadChecksum, content_tag, named_files
from stages.declaration import StageConfig
from stages.questions import SuiteQuestion


def identity_of(config: StageConfig, seed: int, read: ReadChecksum = checksum) -> dict[str, Any]:
    """Plain JSON, compared field by field: non-default settings, kind, version and seed.

    `read` returns the checksum of a user's file."""
    tags = {named.path: content_tag(named, read) for named in named_files(config)}
    suites = _suite_versions(config)
    return {
        "config": essential(config, tags),
        "kind": config.kind,
        "version": config.version,
        "seed": seed,
        **({"suites": suites} if suites else {}),
    }


def _suite_versions(config: StageConfig) -> dict[str, int]:
    """The versions of the packaged suites that a stage asks, without those that are still 1."""
    asked = (one.suite for one in config.questions("", 0) if isinstance(one, SuiteQuestion))
    packaged = {suite.name: suite.header.version for suite in asked if suite.file is None}
    return {name: version for name, version in packaged.items() if version > 1}


def essential(value: Any, tags: Mapping[DataPath, str] | None = None, path: DataPath = ()) -> Any:
    """`value` as plain JSON without fields that have their default values. `tags` replaces the
    values at its paths. The discriminator of a union is always kept."""
    tags = tags or {}
    if path in tags:
        return tags[path]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {
            field.alias or name: essential(getattr(value, name), tags, (*path, field.alias or name))
            for name, field in fields
            if _is_tag(field) or getattr(value, name) != _default(field)
        }
    if isinstance(value, tuple):
        return [essential(item, tags, (*path, index)) for index, item in enumerate(value)]
    return canonical(value)


def _is_tag(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _default(field: FieldInfo) -> Any:
    """The default of a field; `...`, which equals no value, if the field is required."""
    return ... if field.is_required() else field.get_default(call_default_factory=True)
