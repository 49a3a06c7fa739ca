"""The figures that the rules about worries read, by stage; the page does not show them as such."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from common.artifacts import ANSWERS, DEV_SCORES
from evals.compare import Evaluation
from evals.parts import FINAL, part_of, read_results
from report.reading import number, rows, thinned
from report.sections.curves import metrics_of
from report.source import RunSource, StageSource

LOGGED = {
    "reward": "reward",
    "mixed": "mixed_share",
    "cut_off": "cut_off_share",
    "entropy": "entropy",
}
"""Name of the signal to that of the metric."""
COUNTED = ("faults", "too_long", "cut_off")


def signals(run: RunSource) -> list[dict[str, Any]]:
    """One entry for each stage that has begun."""
    return [_signals(stage) for stage in run.stages if stage.folder.exists()]


def _signals(stage: StageSource) -> dict[str, Any]:
    logged = metrics_of(stage)
    series = {
        name: thinned([row[metric] for row in logged if metric in row])
        for name, metric in LOGGED.items()
    }
    dev = [own for row in rows(stage, DEV_SCORES) if (own := number(row.get("score"))) is not None]
    metrics = stage.metrics
    pool = metrics.get("pool") or {}
    shares = {name: one["out_of_reach"]["value"] for name, one in pool.get("shares", {}).items()}
    return {
        "stage": stage.id,
        **series,
        "dev": dev,
        "out_of_reach": shares,
        "pool_warnings": pool.get("warnings", []),
        "faulty_replies": metrics.get("faulty_share"),
        "bad_rows": metrics.get("bad_rows", 0),
        "contradictions": metrics.get("contradictions", 0),
    }


def evaluations(
    run: RunSource, place: int, table: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Each evaluation of a run: its cells of the headline table, and counts of its answers."""
    if table is None:
        return []
    found = []
    for where, column in enumerate(table["columns"]):
        if column["run"] == place:
            cells = [(suite["name"], suite["cells"][where]) for suite in table["suites"]]
            suites = [{"name": name, **cell} for name, cell in cells if cell is not None]
            own = next(one for one in run.evaluations if one.stage == column["stage"])
            stage = next((one for one in run.stages if one.evaluated == own.stage), None)
            found.append({"stage": own.stage, "suites": suites, "answers": _answers(own, stage)})
    return found


def _answers(evaluation: Evaluation, stage: StageSource | None) -> list[dict[str, Any]]:
    """Counts of the final part of each suite, `asked` being all of its answers."""
    asked = Counter[str]()
    for row in rows(stage, ANSWERS) if stage else ():
        asked[row["suite"]] += part_of(row.get("group") or row["id"]) == FINAL
    counted: list[dict[str, Any]] = []
    for suite, parts in read_results(evaluation.folder).items():
        part: Mapping[str, Any] = parts[FINAL]
        counts = {name: part.get(name, 0) for name in COUNTED}
        counted.append({"suite": suite, "asked": asked[suite], **counts})
    return counted
