"""Corner cases: how often each fault shows, at every evaluated checkpoint of a run."""

from collections.abc import Mapping
from typing import Any

from evals.suite_file import CORNER_CASES
from report.sections.headline import interval_figure, is_corner


def corners(run: int, table: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`checkpoints`, `cases` with a cell for each, and figures; None if none was asked."""
    if table is None:
        return None
    places = [place for place, column in enumerate(table["columns"]) if column["run"] == run]
    cases = [
        {
            "name": suite["name"].removeprefix(f"{CORNER_CASES}/"),
            "cells": [suite["cells"][place] for place in places],
        }
        for suite in table["suites"]
        if is_corner(suite["name"])
    ]
    cases = [case for case in cases if any(case["cells"])]
    if not cases:
        return None
    checkpoints = [table["columns"][place]["stage"] for place in places]
    drawn = [
        interval_figure(
            f"r{run}-case-{number}",
            case["name"].replace("_", " "),
            [name for name, cell in zip(checkpoints, case["cells"], strict=True) if cell],
            [("rate", [cell for cell in case["cells"] if cell])],
            "rate (%), lower is better",
        )
        for number, case in enumerate(cases)
    ]
    return {"checkpoints": checkpoints, "cases": cases, "figures": drawn}
