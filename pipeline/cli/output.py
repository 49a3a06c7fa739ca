"""Prints a command's result on stdout: one JSON document, a table, or text.

What prompts, models and files hold never steers the terminal (`common/visible.py`)."""

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from common.visible import visible, visible_json, visible_line


def print_json(document: Any) -> None:
    """Print the document, indented."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    print(visible_json(text), flush=True)


def print_text(text: str, file: TextIO | None = None) -> None:
    """Print lines of text, on stdout unless another file is given."""
    print(visible(text), file=file, flush=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first row is the header: with Rich on a terminal, else plain columns."""
    rows = [[visible_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
            )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(table)
