"""The difficulty ledger: one SQLite row a prompt and one a cell, kept from the judge filter through
RL to DPO.

Changes are transactions, so a crash leaves the ledger before or after a change. A file that is not
a whole ledger is refused by name. What the numbers mean is in `curriculum.records` and
`curriculum.posterior`."""

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from curriculum.database import (
    CELLS,
    PROMPTS,
    TABLES,
    connect,
    create,
    create_file,
    open_file,
    write_copy,
)
from curriculum.difficulty_groups import DifficultyGroup
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation, PromptRecord, PromptState

_STATES: tuple[PromptState, ...] = ("active", "retired", "recalled")
_IN_USE = "make sure that no other run uses this folder and that the disk is writable and not full"


class Ledger:
    """An open ledger. `path` None keeps it in memory; an absent file is created, a broken one
    raises RunFailed."""

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
        self._places = self._known_cells()

    @classmethod
    def restore(cls, snapshot: Path, path: Path) -> "Ledger":
        """Open a copy of `snapshot` at `path`, in place of whatever was there. RunFailed if it is
        no whole ledger."""
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
        """Everything changed inside is written together or not at all. May be nested: the outermost
        one counts."""
        if self._depth == 0:
            self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0 and self._db.in_transaction:
                self._db.execute("ROLLBACK")
                self._places = self._known_cells()
            raise
        self._depth -= 1
        if self._depth == 0:
            self._execute("COMMIT")

    def add(self, entries: Iterable[NewPrompt]) -> None:
        """Take prompts in, all or none. One that is there already is left alone; RunFailed if it
        differs."""
        joined: dict[int, list[float]] = {}
        with self.transaction():
            for entry in entries:
                if self._holds(entry):
                    continue
                path = self._path(entry)
                plain = (
                    entry.id,
                    entry.capability,
                    entry.source,
                    entry.prior,
                    entry.settings,
                    path[-1],
                )
                self._put(PromptRecord(*plain, verdict=entry.verdict))
                for difficulty_group in path:
                    joined.setdefault(difficulty_group, []).append(entry.prior.mean)
            for difficulty_group, means in joined.items():
                statement = "UPDATE cells SET members = members + ?, base = base + ? WHERE id = ?"
                self._execute(statement, (len(means), math.fsum(means), difficulty_group))

    def observe(self, observations: Iterable[Observation], version: int, *, decay: float) -> None:
        """Book groups of rollouts sampled from policy `version`; older evidence is faded by `decay`
        a version first.

        Raises ValueError for a version before the last one seen, and books nothing then.
        """
        with self.transaction():
            for seen in observations:
                row = self.row(seen.id)
                passes, fails = row.evidence(decay, version)
                if seen.passes + seen.fails and not seen.more:
                    self._teach(row.difficulty_group, seen, version, decay)
                self._put(
                    replace(
                        row,
                        passes=passes + seen.passes,
                        fails=fails + seen.fails,
                        seen_version=version,
                        drawn=row.drawn + (not seen.more),
                        faults=_added(row.faults, seen.faults),
                    )
                )

    def trained(self, ids: Iterable[str], *, decay: float) -> None:
        """Fade some prompts' own evidence once by `decay`, as they were trained on and will not be
        what they were."""
        with self.transaction():
            for id in ids:
                row = self.row(id)
                self._put(replace(row, passes=decay * row.passes, fails=decay * row.fails))

    def merge(self, other: "Ledger", *, decay: float) -> None:
        """Add what another ledger of the same prompts saw, and take its states where they are the
        later ones.

        Both must come from the same start, each with observations of its own: what both hold counts
        twice."""
        with self.transaction():
            for theirs in other.rows():
                mine = self.row(theirs.id)
                self._put(_merged(mine, theirs, decay))
            difficulty_groups = self.difficulty_groups()
            for id, difficulty_group in other.difficulty_groups().items():
                if difficulty_group.version or difficulty_group.groups:
                    self._put_cell(id, difficulty_groups[id].merged(difficulty_group, decay))

    def retire(self, ids: Iterable[str], version: int) -> None:
        """Let active or recalled prompts rest. Raises ValueError if one rests already."""
        self._move(ids, ("active", "recalled"), "retired", version)

    def recall(self, ids: Iterable[str], version: int) -> None:
        """Put retired prompts back. Raises ValueError if one is not retired."""
        self._move(ids, ("retired",), "recalled", version)

    def row(self, id: str) -> PromptRecord:
        """One prompt. Raises KeyError if the ledger does not hold it."""
        found = self._execute("SELECT * FROM prompts WHERE id = ?", (id,)).fetchone()
        if found is None:
            raise KeyError(f"the ledger {self._name} holds no prompt {id}")
        return _row(found)

    def rows(self) -> list[PromptRecord]:
        """Every prompt, ordered by id."""
        return [_row(found) for found in self._execute("SELECT * FROM prompts ORDER BY id")]

    def columns(self, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of every prompt, ordered by id."""
        return [
            tuple(found)
            for found in self._execute(f"SELECT {', '.join(names)} FROM prompts ORDER BY id")
        ]

    def difficulty_groups(self) -> dict[int, DifficultyGroup]:
        """Every cell by id."""
        found = (dict(row) for row in self._execute("SELECT * FROM cells ORDER BY id"))
        return {values.pop("id"): DifficultyGroup(**values) for values in found}

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""
        with self.transaction():
            self._execute(
                "INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (name, _json(value))
            )

    def remembered(self, name: str, otherwise: Any) -> Any:
        """The value kept under a name."""
        found = self._execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()
        return otherwise if found is None else json.loads(found[0])

    def counts(self) -> dict[str, int]:
        """Number of prompts in each state, states without any included."""
        found = dict(self._execute("SELECT state, COUNT(*) FROM prompts GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in _STATES}

    def dump(self) -> str:
        """The content as canonical text, a JSON line a row: equal content gives equal bytes."""
        lines = []
        for table, columns in TABLES.items():
            lines.append([table, *columns])
            order = next(iter(columns))
            lines += map(
                list, self._execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")
            )
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

    def snapshot(self, path: Path) -> None:
        """Copy the ledger to `path`: whole or not at all. Not inside a transaction (ValueError)."""
        if self._depth:
            raise ValueError(
                "a snapshot inside a transaction would hold what may yet be taken back"
            )
        write_copy(self._db, path)

    @property
    def _name(self) -> str:
        return str(self.path) if self.path else "in memory"

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise RunFailed(f"the ledger {self._name} cannot be used: {error}", _IN_USE) from error

    def _known_cells(self) -> dict[tuple[int | None, str], int]:
        return {
            (difficulty_group.parent, difficulty_group.name): id
            for id, difficulty_group in self.difficulty_groups().items()
        }

    def _holds(self, entry: NewPrompt) -> bool:
        """Whether the prompt is there already; RunFailed if it is there as another."""
        found = self._execute("SELECT * FROM prompts WHERE id = ?", (entry.id,)).fetchone()
        if found is None:
            return False
        old = _row(found)
        for name in ("capability", "source", "settings", "prior", "verdict"):
            if getattr(old, name) != getattr(entry, name):
                raise RunFailed(
                    f"the ledger {self._name} holds prompt {entry.id} with {name}"
                    f" {getattr(old, name)!r}, but now it comes with {getattr(entry, name)!r}",
                    "redo the stage that wrote the ledger",
                )
        return True

    def _path(self, entry: NewPrompt) -> list[int]:
        """The prompt's cells from wide to narrow; those that are not there yet are made."""
        path: list[int] = []
        for name in entry.path:
            key = (path[-1] if path else None, name)
            if key not in self._places:
                self._places[key] = len(self._places) + 1
                self._put_cell(self._places[key], DifficultyGroup(*key))
            path.append(self._places[key])
        return path

    def _teach(
        self, difficulty_group: int | None, seen: Observation, version: int, decay: float
    ) -> None:
        """Tell a prompt's cell, and those around it, of a group."""
        while difficulty_group is not None:
            values = dict(
                self._execute("SELECT * FROM cells WHERE id = ?", (difficulty_group,)).fetchone()
            )
            id, known = values.pop("id"), DifficultyGroup(**values).at(version, decay)
            self._put_cell(id, known.with_group(seen.passes, seen.fails, seen.surprise))
            difficulty_group = known.parent

    def _put_cell(self, id: int, difficulty_group: DifficultyGroup) -> None:
        marks = ", ".join("?" * len(CELLS))
        self._execute(
            f"INSERT OR REPLACE INTO cells ({', '.join(CELLS)}) VALUES ({marks})",
            (id, *astuple(difficulty_group)),
        )

    def _move(
        self, ids: Iterable[str], before: tuple[PromptState, ...], after: PromptState, version: int
    ) -> None:
        with self.transaction():
            for id in ids:
                row = self.row(id)
                if row.state not in before:
                    raise ValueError(f"prompt {id} is {row.state} and cannot become {after}")
                self._put(replace(row, state=after, state_version=version))

    def _put(self, row: PromptRecord) -> None:
        marks = ", ".join("?" * len(PROMPTS))
        self._execute(
            f"INSERT OR REPLACE INTO prompts ({', '.join(PROMPTS)}) VALUES ({marks})", _values(row)
        )


def _added(mine: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, int]:
    return {
        name: count for name, count in sorted((Counter(mine) + Counter(theirs)).items()) if count
    }


def _merged(mine: PromptRecord, theirs: PromptRecord, decay: float) -> PromptRecord:
    """Both rows' evidence, faded to the later version; the later change of state."""
    seen = max(
        (row.seen_version for row in (mine, theirs) if row.seen_version is not None), default=None
    )
    (one, two), (other, another) = (row.evidence(decay, seen or 0) for row in (mine, theirs))
    latest = max(
        (mine, theirs),
        key=lambda row: (-1 if row.state_version is None else row.state_version, row.state),
    )
    return replace(
        mine,
        passes=one + other,
        fails=two + another,
        seen_version=seen,
        drawn=mine.drawn + theirs.drawn,
        faults=_added(mine.faults, theirs.faults),
        state=latest.state,
        state_version=latest.state_version,
    )


def _values(row: PromptRecord) -> tuple[Any, ...]:
    renamed = ("prior_a", "prior_b", "cell")
    values = {name: getattr(row, name) for name in PROMPTS if name not in renamed}
    values["cell"] = row.difficulty_group
    values |= {"prior_a": row.prior.a, "prior_b": row.prior.b, "faults": _json(row.faults)}
    values["verdict"] = None if row.verdict is None else _json(row.verdict)
    return tuple(values[name] for name in PROMPTS)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _row(found: sqlite3.Row) -> PromptRecord:
    values = dict(found)
    prior = Beta(values.pop("prior_a"), values.pop("prior_b"))
    values["difficulty_group"] = values.pop("cell")
    values["faults"] = json.loads(values["faults"])
    values["verdict"] = None if values["verdict"] is None else json.loads(values["verdict"])
    return PromptRecord(prior=prior, **values)
