"""The settings in which several runs differ, from the configs in their plans."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from report.source import RunSource

ROWS = 200
"""Settings that the table shows at most."""


def differing(runs: Sequence[RunSource]) -> dict[str, Any] | None:
    """`rows` of field and value in each run, and how many there are; None for a single run."""
    if len(runs) < 2:
        return None
    flat = [dict(_settings(run)) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [
        {"field": name, "values": values}
        for name in names
        if len(set(values := [settings.get(name) for settings in flat])) > 1
    ]
    return {"runs": [run.name for run in runs], "rows": rows[:ROWS], "of": len(rows)}


def _settings(run: RunSource) -> Iterator[tuple[str, str]]:
    for stage in run.stages:
        yield from _flat(stage.id, stage.config)
        if stage.record is not None:
            yield f"{stage.id}.seed", str(stage.record.get("seed"))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Dotted names to values as JSON; lists of plain values are one value."""
    if isinstance(value, dict) and value:
        for key, own in value.items():
            yield from _flat(f"{name}.{key}", own)
    elif isinstance(value, list) and any(isinstance(own, dict | list) for own in value):
        for place, own in enumerate(value):
            yield from _flat(f"{name}[{place}]", own)
    else:
        yield name, json.dumps(value, ensure_ascii=False)
