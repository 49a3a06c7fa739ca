"""The difficulty ledger: one SQLite row a prompt, kept from the judge filter through RL to DPO.

Changes are transactions, so a crash leaves the ledger before or after a change. A file that is not a whole ledger is
refused by name. What the numbers mean is in `curriculum.rows` and `curriculum.posterior`.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from curriculum.database import COLUMNS, connect, create, create_file, open_file, write_copy
from curriculum.posterior import Beta
from curriculum.rows import Entry, Row, State

_STATES: tuple[State, ...] = ("active", "retired", "recalled")
_IN_USE = "make sure that no other run uses this folder and that the disk is writable and not full"


class Ledger:
    """An open ledger. `path` None keeps it in memory; an absent file is created, a broken one raises RunFailed."""

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

    @classmethod
    def restore(cls, snapshot: Path, path: Path) -> "Ledger":
        """Open a copy of `snapshot` at `path`, in place of whatever was there. RunFailed if it is no whole ledger."""
        if not snapshot.exists():
            raise RunFailed(f"there is no ledger at {snapshot}", "redo the stage that writes it")
        source = open_file(snapshot)
        try:
            write_copy(source, path)
        finally:
            source.close()
        return cls(path)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything changed inside is written together or not at all. May be nested: the outermost one counts."""
        if self._depth == 0:
            self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0 and self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._execute("COMMIT")

    def add(self, entries: Iterable[Entry]) -> None:
        """Take prompts in, all or none. One that is there already is left alone; RunFailed if it differs."""
        with self.transaction():
            for entry in entries:
                self._add(entry)

    def observe(
        self, id: str, passes: int, fails: int, faults: Mapping[str, int], version: int, *, step: int, decay: float
    ) -> None:
        """Book one group of rollouts sampled from policy `version` at training step `step`.

        Older evidence is faded by `decay` a version first. Faults are counted by reason and are no evidence.
        Raises ValueError on negative counts or a version before the last one seen.
        """
        if min(passes, fails, *faults.values()) < 0:
            raise ValueError(f"negative counts for {id}: {passes} passes, {fails} fails, faults {dict(faults)}")
        with self.transaction():
            row = self.row(id)
            old_passes, old_fails = row.evidence(decay, version)
            counted = {reason: row.faults.get(reason, 0) + faults.get(reason, 0) for reason in {*row.faults, *faults}}
            self._put(
                replace(
                    row,
                    passes=old_passes + passes,
                    fails=old_fails + fails,
                    seen_version=version,
                    seen_step=step,
                    drawn=row.drawn + 1,
                    faults={reason: count for reason, count in counted.items() if count},
                )
            )

    def retire(self, ids: Iterable[str], version: int) -> None:
        """Let active or recalled prompts rest. Raises ValueError if one rests already."""
        self._move(ids, ("active", "recalled"), "retired", version)

    def recall(self, ids: Iterable[str], version: int) -> None:
        """Put retired prompts back. Raises ValueError if one is not retired."""
        self._move(ids, ("retired",), "recalled", version)

    def row(self, id: str) -> Row:
        """One prompt. Raises KeyError if the ledger does not hold it."""
        found = self._execute("SELECT * FROM prompts WHERE id = ?", (id,)).fetchone()
        if found is None:
            raise KeyError(f"the ledger {self._name} holds no prompt {id}")
        return _row(found)

    def rows(self) -> list[Row]:
        """Every prompt, ordered by id."""
        return [_row(found) for found in self._execute("SELECT * FROM prompts ORDER BY id")]

    def counts(self) -> dict[str, int]:
        """Number of prompts in each state, states without any included."""
        found = dict(self._execute("SELECT state, COUNT(*) FROM prompts GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in _STATES}

    def dump(self) -> str:
        """The content as canonical text, a JSON line a prompt: equal content gives equal bytes."""
        lines = [json.dumps(list(found), ensure_ascii=False) for found in self._ordered()]
        return "".join(f"{line}\n" for line in [json.dumps(list(COLUMNS)), *lines])

    def snapshot(self, path: Path) -> None:
        """Copy the ledger to `path`: whole or not at all. Not inside a transaction (ValueError)."""
        if self._depth:
            raise ValueError("a snapshot inside a transaction would hold what may yet be taken back")
        write_copy(self._db, path)

    @property
    def _name(self) -> str:
        return str(self.path) if self.path else "in memory"

    def _ordered(self) -> sqlite3.Cursor:
        return self._execute(f"SELECT {', '.join(COLUMNS)} FROM prompts ORDER BY id")

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise RunFailed(f"the ledger {self._name} cannot be used: {error}", _IN_USE) from error

    def _add(self, entry: Entry) -> None:
        new = Row(entry.id, entry.capability, entry.source, entry.prior, verdict=entry.verdict)
        found = self._execute("SELECT * FROM prompts WHERE id = ?", (entry.id,)).fetchone()
        if found is None:
            self._put(new)
            return
        old = _row(found)
        for name in ("capability", "source", "prior", "verdict"):
            if getattr(old, name) != getattr(new, name):
                raise RunFailed(
                    f"the ledger {self._name} holds prompt {entry.id} with {name} {getattr(old, name)!r}, "
                    f"but now it comes with {getattr(new, name)!r}",
                    "redo the stage that wrote the ledger",
                )

    def _move(self, ids: Iterable[str], before: tuple[State, ...], after: State, version: int) -> None:
        with self.transaction():
            for id in ids:
                row = self.row(id)
                if row.state not in before:
                    raise ValueError(f"prompt {id} is {row.state} and cannot become {after}")
                self._put(replace(row, state=after, state_version=version))

    def _put(self, row: Row) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        self._execute(f"INSERT OR REPLACE INTO prompts ({', '.join(COLUMNS)}) VALUES ({marks})", _values(row))


def _values(row: Row) -> tuple[Any, ...]:
    plain = (row.id, row.capability, row.source, row.prior.a, row.prior.b, row.passes, row.fails, row.seen_version)
    verdict = None if row.verdict is None else _json(row.verdict)
    return (*plain, row.seen_step, row.drawn, _json(row.faults), row.state, row.state_version, verdict)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _row(found: sqlite3.Row) -> Row:
    values = dict(found)
    prior = Beta(values.pop("prior_a"), values.pop("prior_b"))
    values["faults"] = json.loads(values["faults"])
    values["verdict"] = None if values["verdict"] is None else json.loads(values["verdict"])
    return Row(prior=prior, **values)
