"""Access to the ledger's tables: transactions, reading and writing of rows.

What the rows mean is in `curriculum.records` and `curriculum.difficulty_groups`; what is done with
them is in `curriculum.ledger`."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

from common.errors import RunFailed
from curriculum.database import (
    DIFFICULTY_GROUPS,
    PROMPTS,
    TABLES,
    connect,
    create,
    create_file,
    open_file,
    write_copy,
)
from curriculum.difficulty_groups import DifficultyGroup
from curriculum.records import PromptRecord, PromptState
from curriculum.sql_rows import to_json, to_record, to_values

_STATES: tuple[PromptState, ...] = ("active", "retired", "reactivated")
_IN_USE = "make sure that no other run uses this folder and that the disk is writable and not full"


class LedgerTables:
    """An open ledger's tables. `path` None keeps them in memory; a missing file is created; a
    damaged one raises RunFailed."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is None:
            self._db = connect(":memory:")
            create(self._db)
        else:
            if not path.exists():
                create_file(path)
            self._db = open_file(path)
        self._depth = 0
        self._group_ids = self._read_group_ids()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are written together or not at all. Nested transactions join the
        outermost one."""
        if self._depth == 0:
            self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0 and self._db.in_transaction:
                self._db.execute("ROLLBACK")
                self._group_ids = self._read_group_ids()
            raise
        self._depth -= 1
        if self._depth == 0:
            self._execute("COMMIT")

    def record(self, id: str) -> PromptRecord:
        """One prompt. Raises KeyError if the ledger does not hold it."""
        record = self._find(id)
        if record is None:
            raise KeyError(f"the ledger {self.name} holds no prompt {id}")
        return record

    def records(self) -> list[PromptRecord]:
        """Every prompt, ordered by id."""
        return [to_record(row) for row in self._execute("SELECT * FROM prompts ORDER BY id")]

    def columns(self, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of every prompt, ordered by id."""
        return [
            tuple(row)
            for row in self._execute(f"SELECT {', '.join(names)} FROM prompts ORDER BY id")
        ]

    def counts(self) -> dict[str, int]:
        """Number of prompts in each state, states without any included."""
        rows = self._execute("SELECT state, COUNT(*) FROM prompts GROUP BY state").fetchall()
        by_state = dict(rows)
        return {state: by_state.get(state, 0) for state in _STATES}

    def difficulty_groups(self) -> dict[int, DifficultyGroup]:
        """Every difficulty group by id."""
        rows = (dict(row) for row in self._execute("SELECT * FROM difficulty_groups ORDER BY id"))
        return {values.pop("id"): DifficultyGroup(**values) for values in rows}

    def remember(self, name: str, value: Any) -> None:
        """Store a JSON value under a name."""
        with self.transaction():
            self._execute(
                "INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (name, to_json(value))
            )

    def remembered(self, name: str, default: Any) -> Any:
        """The value stored under a name."""
        row = self._execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def dump(self) -> str:
        """The content as canonical text, one JSON line per row: equal content gives equal bytes."""
        lines = []
        for table, columns in TABLES.items():
            lines.append([table, *columns])
            order = next(iter(columns))
            lines += map(
                list, self._execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")
            )
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

    def snapshot(self, path: Path) -> None:
        """Copy the ledger to `path`, completely or not at all. Raises ValueError inside a
        transaction."""
        if self._depth:
            raise ValueError("a snapshot inside a transaction would hold uncommitted changes")
        write_copy(self._db, path)

    @property
    def name(self) -> str:
        """How messages name the ledger."""
        return str(self.path) if self.path else "in memory"

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise RunFailed(f"the ledger {self.name} cannot be used: {error}", _IN_USE) from error

    def _find(self, id: str) -> PromptRecord | None:
        row = self._execute("SELECT * FROM prompts WHERE id = ?", (id,)).fetchone()
        return None if row is None else to_record(row)

    def _put(self, record: PromptRecord) -> None:
        marks = ", ".join("?" * len(PROMPTS))
        self._execute(
            f"INSERT OR REPLACE INTO prompts ({', '.join(PROMPTS)}) VALUES ({marks})",
            to_values(record),
        )

    def _read_group_ids(self) -> dict[tuple[int | None, str], int]:
        return {(group.parent, group.name): id for id, group in self.difficulty_groups().items()}

    def _find_group(self, id: int) -> DifficultyGroup:
        statement = "SELECT * FROM difficulty_groups WHERE id = ?"
        values = dict(self._execute(statement, (id,)).fetchone())
        del values["id"]
        return DifficultyGroup(**values)

    def _put_group(self, id: int, group: DifficultyGroup) -> None:
        marks = ", ".join("?" * len(DIFFICULTY_GROUPS))
        self._execute(
            f"INSERT OR REPLACE INTO difficulty_groups ({', '.join(DIFFICULTY_GROUPS)})"
            f" VALUES ({marks})",
            (id, *astuple(group)),
        )
