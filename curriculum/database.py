"""The ledger's file: its SQLite tables, and functions to create, open and copy it.

A file is either a complete ledger or refused with its name."""

import os
import sqlite3
from pathlib import Path

from common.errors import RunFailed

_APPLICATION = 0x7570686C
"""Marks a SQLite file as a ledger ("uphl")."""
_SCHEMA, _BINARY_SCHEMA = 4, 3
"""The present schema, and the one before rewards were graded."""
PROMPTS = {
    "id": "TEXT PRIMARY KEY",
    "capability": "TEXT NOT NULL",
    "source": "TEXT NOT NULL",
    "settings": "TEXT NOT NULL",
    "difficulty_group": "INTEGER NOT NULL",
    "prior_a": "REAL NOT NULL",
    "prior_b": "REAL NOT NULL",
    "passes": "REAL NOT NULL",
    "fails": "REAL NOT NULL",
    "seen_version": "INTEGER",
    "drawn": "INTEGER NOT NULL",
    "faults": "TEXT NOT NULL",
    "state": "TEXT NOT NULL CHECK (state IN ('active', 'retired', 'reactivated'))",
    "state_version": "INTEGER",
    "verdict": "TEXT",
    "rewards": "REAL NOT NULL DEFAULT 0",
    "squares": "REAL NOT NULL DEFAULT 0",
}
DIFFICULTY_GROUPS = {
    "id": "INTEGER PRIMARY KEY",
    "parent": "INTEGER",
    "name": "TEXT NOT NULL",
    "members": "INTEGER NOT NULL",
    "prior_means": "REAL NOT NULL",
    "rollout_groups": "REAL NOT NULL",
    "rates": "REAL NOT NULL",
    "pairs": "REAL NOT NULL",
    "pair_rates": "REAL NOT NULL",
    "squares": "REAL NOT NULL",
    "version": "INTEGER NOT NULL",
    **dict.fromkeys(
        ("freedom", "excess", "pass_pairs", "pass_ties", "fail_pairs", "fail_ties"),
        "REAL NOT NULL DEFAULT 0",
    ),
}
MEMORY = {"name": "TEXT PRIMARY KEY", "value": "TEXT NOT NULL"}
"""The curriculum's other state between steps, as named JSON values."""
TABLES = {"prompts": PROMPTS, "difficulty_groups": DIFFICULTY_GROUPS, "memory": MEMORY}
_BROKEN = "redo the stage that writes it, or put back a copy"


def connect(target: str) -> sqlite3.Connection:
    """A connection without implicit transactions, which the ledger begins itself. Creates a missing
    file."""
    db = _connected(target)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = FULL")
    return db


def _connected(target: str, uri: bool = False) -> sqlite3.Connection:
    # Threads use a ledger one after the other, never at once (`stages/rl/ahead.py`).
    return sqlite3.connect(target, uri=uri, isolation_level=None, check_same_thread=False)


def create(db: sqlite3.Connection) -> None:
    """Create the tables of an empty ledger."""
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {_SCHEMA}")
    for table, columns in TABLES.items():
        described = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        db.execute(f"CREATE TABLE {table} ({described}) WITHOUT ROWID")


def create_file(path: Path) -> None:
    """Create an empty ledger at `path`. A crash on the way leaves no file of that name."""
    empty = connect(":memory:")
    create(empty)
    write_copy(empty, path)
    empty.close()


def open_file(path: Path, *, earlier: bool = False) -> sqlite3.Connection:
    """Open a file after checking that it is a complete ledger; with `earlier`, one that `upgrade`
    can read is accepted too. Raises RunFailed with its name if it is not."""
    try:
        db = _connected(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    except sqlite3.OperationalError as error:
        raise RunFailed(f"the ledger {path} cannot be opened: {error}", _BROKEN) from error
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA synchronous = FULL")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        schema = db.execute("PRAGMA user_version").fetchone()[0]
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        db.close()
        raise RunFailed(f"the ledger {path} cannot be read: {error}", _BROKEN) from error
    known = schema == _SCHEMA or (earlier and schema == _BINARY_SCHEMA)
    if application != _APPLICATION or not known or problem != "ok":
        db.close()
        reason = problem if problem != "ok" else f"application id {application:#x}, schema {schema}"
        raise RunFailed(f"{path} is not a complete ledger of schema {_SCHEMA}: {reason}", _BROKEN)
    return db


def upgrade(path: Path) -> None:
    """Bring a ledger of the earlier schema to the present one: its rewards were 1 for a pass and 0
    for a fail. One of the present schema stays as it is."""
    db = open_file(path, earlier=True)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == _SCHEMA:
            return
        db.execute("BEGIN IMMEDIATE")
        for table, columns in TABLES.items():
            present = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
            # In their order, on which the file's bytes depend.
            for name in [name for name in columns if name not in present]:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
        db.execute("UPDATE prompts SET rewards = passes, squares = passes")
        db.execute(f"PRAGMA user_version = {_SCHEMA}")
        db.execute("COMMIT")
    finally:
        db.close()


def canonicalise(path: Path) -> None:
    """Rewrite a closed ledger so that its bytes depend only on its content, not on its history.

    SQLite counts changes in a file's header. `VACUUM INTO` begins at one and writes the pages in
    order."""
    db = open_file(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(partial),))
    db.close()
    partial.replace(path)


def write_copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database to `path` through a temporary file. The journal of an earlier file there is
    removed first."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    target = connect(str(partial))
    try:
        source.backup(target)
    finally:
        target.close()
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    partial.replace(path)
