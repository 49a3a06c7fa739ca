"""Reads the files of a run. Large ones are streamed; a damaged one is BadInput that names it."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from common.artifacts import JsonFile, JsonLines
from common.errors import BadInput
from common.files import each_json_line
from report.source import StageSource

REMEDY = "`uphill verify` says which files have changed; run their stage again with --redo"
POINTS = 400
"""Points of a curve at most: a page is not wide enough to show more."""


def rows(stage: StageSource, artifact: JsonLines) -> Iterator[dict[str, Any]]:
    """The lines of a stage's file, one in memory at a time; none without a file."""
    path = artifact.path(stage.folder)
    try:
        for number, row in enumerate(each_json_line(path), start=1):
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object")
            yield row
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def whole(stage: StageSource, artifact: JsonFile) -> Any:
    """The document in a stage's file; None without a file."""
    path = artifact.path(stage.folder)
    if not path.exists():
        return None
    try:
        return artifact.read(stage.folder)
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> BadInput:
    """The error that a file cannot be read."""
    return BadInput(f"{path}: is damaged: {type(error).__name__}: {error}", REMEDY)


def number(value: Any) -> float | None:
    """The value if it is a finite number; None for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return value if plain and isfinite(value) else None


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row, by name."""
    return {name: own for name, value in row.items() if (own := number(value)) is not None}


def thinned(values: Sequence[Any], limit: int = POINTS) -> list[Any]:
    """At most `limit` of the values, evenly spaced, the first and the last among them."""
    if len(values) <= limit:
        return list(values)
    last = len(values) - 1
    return [values[round(place * last / (limit - 1))] for place in range(limit)]
