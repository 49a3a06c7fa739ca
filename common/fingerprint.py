"""Fingerprints: SHA-256 over canonical JSON. Values that JSON cannot represent exactly are
refused."""

import hashlib
import json
import math
from typing import Any

from pydantic import BaseModel


def canonical(value: Any) -> Any:
    """`value` as plain JSON types. Raises TypeError on values without a unique encoding."""
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="json"))
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a fingerprint needs string keys, got {sorted(map(repr, value))}")
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"a fingerprint cannot encode {value}")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a fingerprint cannot encode {type(value).__name__}: {value!r}")


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value` (dicts, lists, scalars, configs)."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The leaves in which two canonical values differ, as (dotted path, old, new); a missing side
    is None."""
    if isinstance(old, dict) and isinstance(new, dict):
        differing = []
        for key in sorted({*old, *new}):
            differing += differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return differing
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            difference
            for i, (a, b) in enumerate(zip(old, new, strict=True))
            for difference in differences(a, b, f"{path}[{i}]")
        ]
    return [] if old == new else [(path, old, new)]
