"""Prints a command's result on stdout: one JSON document, or a table."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def print_json(document: Any) -> None:
    """Print the document, indented."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first row is the header: with Rich on a terminal, else plain columns."""
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
    Console(markup=False).print(table)
