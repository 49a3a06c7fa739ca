"""Writes the document as one HTML file: no network, no other file, and nothing in it is run but the
sample viewer's own script."""

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report.at import At, cell, num, pairs, plain
from report.plots import draw, swatches
from report.visible import all_visible, script_json, visible

PARTS = Path(__file__).parent / "page"
ROWS = 200
"""Rows of the table below a plot at most."""
MARKS = {"better": "▲ better", "worse": "▼ worse"}


def render(document: dict[str, Any]) -> str:
    """The page of a document."""
    environment = Environment(
        loader=FileSystemLoader(PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"pairs": pairs, "short": _short, "moment": _moment}
    environment.globals |= {
        "num": num,
        "cell": cell,
        "svg": lambda figure: Markup(draw(plain(figure))),
        "swatches": lambda figure: swatches(plain(figure)),
        "shown_rows": partial(_shown_rows),
        "mark": MARKS,
        "plain": plain,
    }
    return environment.get_template("page.html.jinja").render(
        document=At(document),
        title=_title(document),
        sections=_sections(document),
        style=Markup(_file("style.css")),
        script=Markup(_file("viewer.js")),
        script_hash=_hash(_file("viewer.js")),
        data=Markup(script_json(all_visible(document["samples"]))),
    )


def _sections(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Anchor and name of the sections that have anything to show, in the page's order."""
    runs = document["runs"]
    there = {
        ("summary", "Summary"): True,
        ("scores", "Scores"): document["headline"],
        ("ran", "What ran"): True,
        ("prompts", "Prompts"): any(run["funnel"] for run in runs),
        ("curves", "Learning"): any(run["curves"] for run in runs),
        ("curriculum", "Curriculum"): any(run["difficulty"] for run in runs),
        ("health", "Health"): any(run["health"] for run in runs),
        ("judges", "Judges"): any(run["judging"] for run in runs),
        ("corners", "Corner cases"): any(run["corners"] for run in runs),
        ("samples", "Samples"): document["samples"],
        ("provenance", "Provenance"): True,
    }
    return [name for name, shown in there.items() if shown]


def _file(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What the page's policy allows to run: this script and no other."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _title(document: dict[str, Any]) -> str:
    return ", ".join(run["name"] for run in document["runs"])


def _shown(value: Any) -> Any:
    """Every text that a template writes: nothing in it stays hidden."""
    return value if isinstance(value, Markup | At) or not isinstance(value, str) else visible(value)


def _short(at: At, letters: int = 12) -> str:
    return str(at)[:letters]


def _moment(at: At) -> str:
    """`2026-11-28 05:39:47 UTC` of a time as records have it."""
    return str(at).replace("T", " ").replace("+00:00", " UTC")


def _shown_rows(figure: At) -> list[int]:
    """The places of the rows of a plot's table, evenly spaced if there are too many."""
    count = len(plain(figure)["x"])
    if count <= ROWS:
        return list(range(count))
    return sorted({round(place * (count - 1) / (ROWS - 1)) for place in range(ROWS)})
