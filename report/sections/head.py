"""The head: the state of a run, and in words what it did."""

from collections.abc import Iterator, Mapping
from typing import Any

from evals.suite_file import HELD_OUT_SUITE
from report.sections.words import change, interval, listed
from report.source import RunSource

ORDER = ("failed", "running", "stale")
"""States that one stage passes on to the run, the most urgent first."""
WHAT = {
    "better": "better, beyond chance",
    "worse": "worse, beyond chance",
    None: "no clear difference",
}


def head(run: RunSource, number: int, table: Mapping[str, Any] | None) -> dict[str, Any]:
    """`state`, `started`, `finished`, `done` of `stages`, and `summary`, sentences in words."""
    records = [stage.record for stage in run.stages if stage.record is not None]
    done = sum(stage.state == "done" for stage in run.stages)
    return {
        "state": state_of(run),
        "started": min((one["started"] for one in records if "started" in one), default=None),
        "finished": max((one["finished"] for one in records if "finished" in one), default=None),
        "done": done,
        "stages": len(run.stages),
        "summary": list(_summary(run, number, table)),
    }


def state_of(run: RunSource) -> str:
    """`failed`, `running`, `stale`, `finished` or `unfinished`."""
    states = {stage.state for stage in run.stages}
    urgent = next((state for state in ORDER if state in states), None)
    return urgent or ("finished" if states <= {"done"} else "unfinished")


def _summary(run: RunSource, number: int, table: Mapping[str, Any] | None) -> Iterator[str]:
    done = [stage.id for stage in run.stages if stage.state == "done" and not stage.evaluated]
    if not done:
        yield "No stage is finished yet."
        return
    yield f"Finished {'stages' if len(done) > 1 else 'stage'}: {listed(done)}."
    if table is None or not run.evaluations:
        yield "No checkpoint has been evaluated, so nothing is known about what training changed."
        return
    for suite in sorted(table["suites"], key=lambda suite: suite["name"] != HELD_OUT_SUITE):
        if not suite["part"]:
            yield from _scores(suite, number, table)


def _scores(suite: Mapping[str, Any], number: int, table: Mapping[str, Any]) -> Iterator[str]:
    """The first and the last score of a suite, and what happened in between."""
    columns = zip(table["columns"], suite["cells"], strict=True)
    cells = [
        (column["stage"], cell)
        for column, cell in columns
        if column["run"] == number and cell is not None and cell["value"] is not None
    ]
    if not cells:
        return
    what = "the rate (lower is better)" if suite["rate"] else "the score"
    (first, before), (last, after) = cells[0], cells[-1]
    if len(cells) == 1:
        yield f"On {suite['name']}, {what} of {last} is {interval(after)}."
        return
    steps = [
        f"{stage} {change(cell)} ({WHAT[cell['verdict']]})"
        for stage, cell in cells
        if cell["change"] is not None
    ]
    yield (
        f"On {suite['name']}, {what} is {interval(before)} for {first} and {interval(after)} for"
        f" {last}, on {after['n']} prompts. Each against the one before: {'; '.join(steps)}."
    )
