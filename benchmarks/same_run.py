"""Whether two runs of one recipe left the same behind, byte for byte; time stamps and what follows
from them apart."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from common.files import files_below, read_json_lines, read_sealed
from pipeline.execution.logs import is_log
from pipeline.store.record import RECORD

TIMES = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")
"""Figures of `metrics.jsonl` that measure time."""
OF_THE_ATTEMPT = (
    *("started", "finished", "seconds", "seconds_checking", "attempts", "peak_memory_mib"),
    "peak_memory_mib_by_rank",
    *("commit", "inputs", "files"),
)
"""What a record says of how a stage came about. `inputs` and `files` hold checksums over time
stamps; the files themselves are compared."""


def differing(one: Path, other: Path) -> list[str]:
    """The files of two run folders that differ, or that only one has; logs, locks and times are
    left out."""
    mine, theirs = _contents(one), _contents(other)
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def cached(path: Path) -> list[tuple[Any, ...]]:
    """The answers of a verdict cache, in an order of their own."""
    with closing(sqlite3.connect(path)) as database:
        return sorted(database.execute("SELECT key, value FROM answers").fetchall())


def _contents(run: Path) -> dict[str, Any]:
    """What every file says, by its name: bytes, but for records and metrics."""
    names = {path.relative_to(run): path for path in files_below(run)}
    return {
        str(name): _content(path)
        for name, path in names.items()
        if len(name.parts) > 1 and not is_log(path.name)
    }


def _content(path: Path) -> Any:
    if path.name == RECORD:
        record = read_sealed(path)
        files = sorted(record["files"])
        return {name: value for name, value in record.items() if name not in OF_THE_ATTEMPT} | {
            "files": files
        }
    if path.name == "metrics.jsonl":
        rows = read_json_lines(path)
        return [
            json.dumps({name: value for name, value in row.items() if not _measures_time(name)})
            for row in rows
        ]
    return path.read_bytes()


def _measures_time(name: str) -> bool:
    return name in TIMES or name.startswith("time/")
