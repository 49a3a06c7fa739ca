"""Gathers everything that a report shows as one plain JSON document."""

from collections.abc import Sequence
from typing import Any

from report.sections.corners import corners
from report.sections.curves import curves
from report.sections.difficulty import difficulty
from report.sections.funnel import funnel
from report.sections.head import head
from report.sections.headline import first_and_last, headline, score_figures
from report.sections.health import health
from report.sections.judging import judging
from report.sections.provenance import provenance
from report.sections.samples import samples
from report.sections.settings import differing
from report.sections.signals import evaluations, signals
from report.sections.stages import stages
from report.sections.worries import worries
from report.source import RunSource
from report.visible import storable

FORMAT = 1
"""Format of the document."""
Document = dict[str, Any]


def gather(sources: Sequence[RunSource], price_per_hour: float | None = None) -> Document:
    """The document of one or several runs. Raises BadInput on damaged files."""
    table = headline(sources)
    runs = [_run(source, number, table, price_per_hour) for number, source in enumerate(sources)]
    document = {
        "format": FORMAT,
        "headline": table,
        "settings": differing(sources),
        "runs": runs,
        "samples": samples(sources),
    }
    return storable(document)


def _run(source: RunSource, number: int, table: Any, price: float | None) -> Document:
    run = {
        "name": source.name,
        "head": head(source, number, table),
        "first_and_last": first_and_last(source),
        "evaluations": evaluations(source, number, table),
        "score_figures": score_figures(number, table),
        "ran": stages(source, price),
        "funnel": funnel(source, number),
        "curves": curves(source, number),
        "difficulty": difficulty(source, number),
        "health": health(source, number),
        "judging": judging(source, number),
        "corners": corners(number, table),
        "gates": list(source.verdicts),
        "provenance": provenance(source),
        "signals": signals(source),
    }
    return {**run, "worries": worries(run)}
