"""The data of a plot, as plain JSON in the report's document. `report/plots.py` draws it, and the
page shows the same numbers as a table below the drawing."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from report.reading import number, thinned

Kind = Literal["lines", "stack", "bars", "points", "scatter"]
"""`lines`: values over x; `stack`: shares over x, one on the other; `bars`: horizontal bars of
categories, series side by side on one bar; `points`: categories with intervals; `scatter`: points
against the diagonal on which x and y are equal."""
Values = Sequence[Any]


def series(name: str, values: Values, **more: Any) -> dict[str, Any]:
    """One series. `more`: `low` and `high` of each value, `dashed` for a limit or a reference."""
    return {"name": name, "values": [number(value) for value in values], **more}


def figure(
    id: str,
    title: str,
    kind: Kind,
    x: Values,
    x_label: str,
    y_label: str,
    all_series: Sequence[Mapping[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """A plot. `more`: `range` (lowest and highest y), `log`, `about` (a sentence below the title),
    `of` (number of points before some were left out)."""
    plain = {"range": None, "log": False, "about": "", "of": len(x)}
    labels = {"x_label": x_label, "y_label": y_label, "x": list(x)}
    return {"id": id, "title": title, "kind": kind, **labels, "series": list(all_series)} | {
        **plain,
        **more,
    }


def curve(
    id: str,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    x: tuple[str, str],
    y_label: str,
    names: Mapping[str, str],
    dashed: Sequence[str] = (),
    kind: Kind = "lines",
    **more: Any,
) -> list[dict[str, Any]]:
    """A figure of the named metrics over `x` (metric and label), those that any row has; no figure
    without one, or with fewer than two rows. `names`: metric to the name that is shown."""
    points = [row for row in rows if x[0] in row and any(name in row for name in names)]
    found = [name for name in names if any(name in row for row in points)]
    if len(points) < 2:
        return []
    shown = thinned(points)
    drawn = [
        series(names[name], [row.get(name) for row in shown], dashed=name in dashed)
        for name in found
    ]
    places = [row[x[0]] for row in shown]
    return [figure(id, title, kind, places, x[1], y_label, drawn, of=len(points), **more)]
