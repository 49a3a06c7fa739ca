"""The ledger's file: SQLite tables, made and copied so that a file is either a whole ledger or
refused by name."""

import os
import sqlite3
from pathlib import Path

from common.errors import RunFailed

_APPLICATION = 0x7570686C
"""Marks a SQLite file as a ledger ("uphl")."""
_SCHEMA = 2
PROMPTS = {
    "id": "TEXT PRIMARY KEY",
    "capability": "TEXT NOT NULL",
    "source": "TEXT NOT NULL",
    "settings": "TEXT NOT NULL",
    "cell": "INTEGER NOT NULL",
    "prior_a": "REAL NOT NULL",
    "prior_b": "REAL NOT NULL",
    "passes": "REAL NOT NULL",
    "fails": "REAL NOT NULL",
    "seen_version": "INTEGER",
    "drawn": "INTEGER NOT NULL",
    "faults": "TEXT NOT NULL",
    "state": "TEXT NOT NULL CHECK (state IN ('active', 'retired', 'recalled'))",
    "state_version": "INTEGER",
    "verdict": "TEXT",
}
CELLS = {
    "id": "INTEGER PRIMARY KEY",
    "parent": "INTEGER",
    "name": "TEXT NOT NULL",
    "members": "INTEGER NOT NULL",
    "base": "REAL NOT NULL",
    "groups": "REAL NOT NULL",
    "rates": "REAL NOT NULL",
    "pairs": "REAL NOT NULL",
    "pair_rates": "REAL NOT NULL",
    "squares": "REAL NOT NULL",
    "version": "INTEGER NOT NULL",
}
MEMORY = {"name": "TEXT PRIMARY KEY", "value": "TEXT NOT NULL"}
"""What a curriculum remembers from step to step besides prompts and cells, as JSON."""
TABLES = {"prompts": PROMPTS, "cells": CELLS, "memory": MEMORY}
_BROKEN = "redo the stage that writes it, or put back a copy"


def connect(target: str) -> sqlite3.Connection:
    """A connection without implicit transactions, as the ledger opens its own. Creates a file that
    is absent."""
    db = sqlite3.connect(target, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = FULL")
    return db


def create(db: sqlite3.Connection) -> None:
    """Lay out an empty ledger."""
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {_SCHEMA}")
    for table, columns in TABLES.items():
        described = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        db.execute(f"CREATE TABLE {table} ({described}) WITHOUT ROWID")


def create_file(path: Path) -> None:
    """An empty ledger at `path`; a crash on the way leaves no file of that name."""
    empty = connect(":memory:")
    create(empty)
    write_copy(empty, path)
    empty.close()


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to a file that proved to be a whole ledger; RunFailed names the file
    otherwise."""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
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
    if application != _APPLICATION or schema != _SCHEMA or problem != "ok":
        db.close()
        said = problem if problem != "ok" else f"application id {application:#x}, schema {schema}"
        raise RunFailed(f"{path} is not a whole ledger of schema {_SCHEMA}: {said}", _BROKEN)
    return db


def settle(path: Path) -> None:
    """Rewrite a closed ledger so that its bytes say what it holds and not how it came to it.

    SQLite counts changes in a file's header; `VACUUM INTO` begins at one, and lays the pages out in
    order."""
    db = open_file(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(partial),))
    db.close()
    partial.replace(path)


def write_copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database to `path` through a temporary file; a journal left by what was there before
    goes first."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    target = connect(str(partial))
    try:
        source.backup(target)
    finally:
        target.close()
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    partial.replace(path)
