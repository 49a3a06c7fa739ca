"""What the writers of suites share: the rows that they write, and their hand-written parts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.yaml_files.lines import load_file

FOLDER = Path(__file__).parent
Row = dict[str, Any]
"""A line of a suite's file of prompts."""


def parts(name: str) -> list[dict[str, Any]]:
    """The entries of a file of hand-written parts."""
    entries: list[dict[str, Any]] = load_file(FOLDER / name).data
    return entries


def as_lines(rows: Iterable[Row]) -> str:
    """The rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
