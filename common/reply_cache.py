"""A cache of models' replies: an SQLite file with one row per question.

A key covers everything that decides the reply, so no entry is ever out of date. Each row has a
checksum of its text, so damage is detected when the row is read."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

from common.checksums import Stamp
from common.errors import RunFailed
from common.files import checksum, files_below
from common.fingerprint import fingerprint

_TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum TEXT"
        " NOT NULL) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, stamp TEXT NOT NULL, sum TEXT NOT"
        " NULL) WITHOUT ROWID"
    ),
)
_AT_ONCE = 500
"""Keys per query."""
_WAIT_S = 60.0
"""Longest wait for another run's write, in seconds."""


class ReplyCache:
    """An open cache; in memory if `path` is None. Several runs may share one file, and several
    threads one cache. `what` names it in messages."""

    def __init__(self, path: Path | None, what: str = "verdict cache") -> None:
        self._path, self._lock, self._what = path, RLock(), what
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(
                str(path or ":memory:"),
                isolation_level=None,
                timeout=_WAIT_S,
                check_same_thread=False,  # `_lock` keeps threads apart
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            for table in _TABLES:
                self._db.execute(table)
        except sqlite3.DatabaseError as error:
            raise self._broken(str(error)) from error

    def __enter__(self) -> "ReplyCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The entries that exist, by key."""
        wanted, entries = list(keys), {}
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            for key, value, sum_ in self._run(
                f"SELECT key, value, sum FROM answers WHERE key IN ({marks})", part
            ):
                if fingerprint([key, value]) != sum_:
                    raise self._broken(f"the entry {key[:12]} is damaged")
                entries[key] = json.loads(value)
        return entries

    def put(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Store entries, all or none."""
        texts = {
            key: json.dumps(value, ensure_ascii=True, allow_nan=False)
            for key, value in entries.items()
        }
        with self._lock:
            self._run("BEGIN IMMEDIATE")
            for key, text in texts.items():
                self._run(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                    [key, text, fingerprint([key, text])],
                )
            self._run("COMMIT")

    def folder_sum(self, folder: Path) -> str:
        """A checksum over a checkpoint's files. A file is read again only if its size, times or
        inode changed."""
        sums = {}
        for path in files_below(folder):
            name, stamp, now = str(path.resolve()), Stamp.of(path), time.time_ns()
            known = self._run(
                "SELECT sum FROM files WHERE name = ? AND stamp = ?", [name, str(stamp)]
            )
            sums[str(path.relative_to(folder))] = sum_ = known[0][0] if known else checksum(path)
            if not known and stamp.settled(now) and Stamp.of(path) == stamp:
                self._run("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [name, str(stamp), sum_])
        return fingerprint(sums)

    def problem(self) -> str | None:
        """What is wrong with the file; None if every entry is as it was written."""
        try:
            ((said,),) = self._db.execute("PRAGMA integrity_check(1)").fetchall()
            damaged = next(
                (
                    f"the entry {key[:12]} is damaged"
                    for key, value, sum_ in self._db.execute("SELECT key, value, sum FROM answers")
                    if fingerprint([key, value]) != sum_
                ),
                None,
            )
        except sqlite3.DatabaseError as error:
            return str(error)
        return damaged if said == "ok" else str(said)

    def _run(self, statement: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(statement, tuple(values)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._broken(str(error)) from error

    def _broken(self, why: str) -> RunFailed:
        return RunFailed(
            f"the {self._what} {self._path or 'in memory'} cannot be used: {why}",
            "free disk space if the disk is full; otherwise delete the file, and the model is asked"
            " again",
        )
