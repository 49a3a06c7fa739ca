"""Reads the units of a finished evaluation's answers, and what a decision may know of one."""

from collections.abc import Mapping
from pathlib import Path

from common.artifacts import ANSWERS
from common.errors import BadInput
from common.files import each_json_line
from evals.answer import counts, unit_of
from evals.parts import DEV, DevScores, dev_scores, part_of
from evals.units import Unit, units_of

Units = Mapping[str, Mapping[str, Unit]]
"""Suite or suite/capability to its units by name."""


def read_units(folder: Path, part: str) -> Units:
    """The units of one part of an evaluation in `folder`, without those that do not count. BadInput
    where its answers are missing."""
    path = ANSWERS.path(folder)
    if not path.is_file():
        raise BadInput(f"{path}: no such file", "redo the evaluation")
    answers: dict[str, list[tuple[str, str, float]]] = {}
    for row in each_json_line(path):
        suite, cluster = row["suite"], row.get("group") or row["id"]
        if counts(suite, row["fault"]) and part_of(cluster) == part:
            unit = unit_of(suite, row["id"], row["capability"], row.get("group", ""))
            answer = unit, cluster, float(row["correct"])
            answers.setdefault(suite, []).append(answer)
            answers.setdefault(f"{suite}/{row['capability']}", []).append(answer)
    return {name: units_of(rows) for name, rows in answers.items()}


def dev_answers(folder: Path) -> DevScores:
    """What an evaluation's folder says of the dev parts, their units included. Raises as
    `dev_scores` and `read_units`."""
    return DevScores(dev_scores(folder).suites, read_units(folder, DEV))
