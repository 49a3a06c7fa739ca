"""The scores: suites by checkpoints, each with its interval and the difference to the checkpoint
before it, and that of the last checkpoint to the first one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals.compare import Evaluation, compare_rows
from evals.parts import DEV
from evals.suite_file import CORNER_CASES
from report.figures import figure
from report.source import RunSource

Row = Mapping[str, Any]


def headline(runs: Sequence[RunSource]) -> dict[str, Any] | None:
    """The table of all runs: `columns`, and `suites` with a cell per column; None without an
    evaluation. Raises BadInput on evaluations that cannot be read."""
    columns: list[dict[str, Any]] = []
    by_place: dict[tuple[int, str, str], dict[str, Any]] = {}
    for number, run in enumerate(runs):
        for row in compare_rows(run.evaluations):
            by_place[number, row["stage"], row["suite"]] = _cell(row)
        for evaluation in run.evaluations:
            label = f"{run.name}: {evaluation.stage}" if len(runs) > 1 else evaluation.stage
            columns.append({"run": number, "stage": evaluation.stage, "label": label})
    names = dict.fromkeys(name for _, _, name in by_place)
    suites = [
        _suite(name, [by_place.get((one["run"], one["stage"], name)) for one in columns])
        for name in names
    ]
    return {"columns": columns, "suites": suites} if suites else None


def _suite(name: str, cells: Sequence[Row | None]) -> dict[str, Any]:
    found = [cell for cell in cells if cell is not None]
    sizes = {cell["n"] for cell in found}
    return {
        "name": name,
        "label": name.partition("/")[2] or name,
        "part": "/" in name,
        "rate": any(cell["rate"] for cell in found),
        "n": sizes.pop() if len(sizes) == 1 else None,
        "detectable": max((one["detectable"] for one in found if one["detectable"]), default=None),
        "cells": list(cells),
    }


def _cell(row: Row) -> dict[str, Any]:
    """A row of `compare` under names that scores and rates share; `dev` likewise."""
    rate = "rate" in row
    change = "rate_delta" if rate else "delta"
    kept = ("p", "p_adjusted", "verdict", "detectable")
    return {
        "rate": rate,
        **_value(row, rate),
        "change": row[change],
        "change_low": row[f"{change}_low"],
        "change_high": row[f"{change}_high"],
        **{name: row.get(name) for name in kept},
        DEV: _value(row[DEV], rate),
    }


def _value(row: Row, rate: bool) -> dict[str, Any]:
    names = ("rate", "rate_low", "rate_high") if rate else ("score", "low", "high")
    value, low, high = (row[name] for name in names)
    return {"value": value, "low": low, "high": high, "n": row["n"]}


def first_and_last(run: RunSource) -> dict[str, Any] | None:
    """The last evaluated checkpoint against the first one, by suite; None with fewer than two."""
    if len(run.evaluations) < 2:
        return None
    first, last = _line(run.evaluations)
    if first is last:
        return None
    rows = compare_rows([replace(first, parent=None), replace(last, parent=first.stage)])
    whole = [row for row in rows if "/" not in row["suite"]]
    before = {row["suite"]: _cell(row) for row in whole if row["stage"] == first.stage}
    after = {row["suite"]: _cell(row) for row in whole if row["stage"] == last.stage}
    suites = [
        {"name": name, "before": before.get(name), "after": cell} for name, cell in after.items()
    ]
    return {"first": first.stage, "last": last.stage, "suites": suites}


def _line(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, Evaluation]:
    """The last evaluation, and the one at the beginning of the line of training that led to it."""
    by_stage = {one.stage: one for one in evaluations}
    last = first = evaluations[-1]
    for _ in evaluations:
        parent = by_stage.get(first.parent or "")
        first = parent or first
    return first, last


def score_figures(run: int, table: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A plot per suite: the score of each of a run's checkpoints, with its interval."""
    if table is None:
        return []
    drawn: list[dict[str, Any]] = []
    for suite in table["suites"]:
        pairs = [
            (column["stage"], cell)
            for column, cell in zip(table["columns"], suite["cells"], strict=True)
            if column["run"] == run and cell is not None
        ]
        if suite["part"] or not pairs:
            continue
        what = "rate, lower is better" if suite["rate"] else "score"
        drawn.append(
            interval_figure(
                f"r{run}-score-{len(drawn)}",
                f"{suite['name']} by checkpoint",
                [name for name, _ in pairs],
                [("final part", [cell for _, cell in pairs])],
                f"{what} (%)",
            )
        )
    return drawn


def interval_figure(
    id: str, title: str, x: Sequence[str], groups: Sequence[tuple[str, Sequence[Row]]], y_label: str
) -> dict[str, Any]:
    """Shares in per cent with 95 % intervals, by category."""
    drawn = [
        {
            "name": name,
            **{
                key: [_percent(cell[own]) for cell in cells]
                for key, own in (("values", "value"), ("low", "low"), ("high", "high"))
            },
            "dashed": False,
        }
        for name, cells in groups
    ]
    return figure(id, title, "points", x, "checkpoint", y_label, drawn, range=[0, 100])


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def is_corner(name: str) -> bool:
    """Whether a row of the table is that of a corner case."""
    return name.startswith(f"{CORNER_CASES}/")
