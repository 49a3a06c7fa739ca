"""What a command prints on stdout: one JSON document for programs, or a table for people."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """A table whose first row is its header: with Rich on a terminal, plain columns elsewhere."""
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
