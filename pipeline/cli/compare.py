"""`uphill compare`: scores of the base model and of every stage side by side, with intervals and
the difference to the parent."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.artifacts import CHECKPOINT
from common.errors import BadInput
from pipeline.cli.output import print_table, print_text
from pipeline.execution.gates import evaluated_parent
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Plan

if TYPE_CHECKING:
    from evals.compare import Evaluation


def rows_of(runs: Sequence[Path], stages: Container[str] | None = None) -> list[dict[str, Any]]:
    """The rows of `compare --json`: one per finished evaluation and suite of each run, or of some
    stages. BadInput if a run has none."""
    from evals.compare import compare_rows

    rows: list[dict[str, Any]] = []
    for run in runs:
        plan = load_plan(run)
        evaluations = [
            one
            for one in evaluations_of(plan, inspect(plan, run))
            if stages is None or one.stage in stages
        ]
        if not evaluations:
            raise BadInput(
                f"{run}: no evaluation is finished", "run a recipe that has an `evaluate` section"
            )
        rows += compare_rows(evaluations)
    return rows


def evaluations_of(plan: Plan, states: Mapping[str, NodeState]) -> list["Evaluation"]:
    """The finished evaluations of a run, in the order of its plan."""
    from evals.compare import Evaluation

    return [
        Evaluation(
            node.evaluated,
            evaluated_parent(plan, states, node.evaluated),
            str(CHECKPOINT.path(states[node.evaluated].folder)),
            states[node.id].folder,
        )
        for node in plan.nodes
        if node.evaluated and states[node.id].state == "done"
    ]


def print_comparison(rows: Sequence[dict[str, Any]], several: bool) -> None:
    """The table and what its marks mean."""
    print_table(compare_table(rows, several))
    for remark in compare_remarks(rows):
        print_text(remark)


def compare_table(rows: Sequence[dict[str, Any]], several: bool) -> list[list[str]]:
    """The printed table: one line per suite, one column per stage, `score [low, high] delta` in per
    cent, of a corner case its rate, with a `*` where the difference is none of chance. With
    `several` runs the columns are labelled with the run too."""
    stages = list(dict.fromkeys(_column(row, several) for row in rows))
    suites = list(dict.fromkeys(suite_text(row["suite"], row) for row in rows))
    cells = {(suite_text(row["suite"], row), _column(row, several)): _cell(row) for row in rows}
    counts = {suite_text(row["suite"], row): str(row["n"]) for row in rows}
    body = [
        [suite, counts[suite], *(cells.get((suite, stage), "") for stage in stages)]
        for suite in suites
    ]
    return [["suite (%)", "n", *stages], *body]


def compare_remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the marks of the table mean, and what its suites are too small to show."""
    smallest = smallest_differences(rows)
    if not smallest:
        return []
    sizes = ", ".join(f"{suite} {100 * size:.1f}" for suite, size in smallest.items())
    return [
        "* is better or worse than the checkpoint before it on the same prompts (exact McNemar test"
        " at 5 %, with Holm's correction over its suites).",
        f"The smallest difference that a suite of this size shows four times in five: {sizes}"
        " points.",
    ]


def smallest_differences(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The smallest difference that each suite shows four times in five."""
    smallest: dict[str, float] = {}
    for row in rows:
        if "detectable" in row and "/" not in row["suite"]:
            smallest[row["suite"]] = max(smallest.get(row["suite"], 0.0), row["detectable"])
    return smallest


def suite_text(name: str, result: Mapping[str, Any]) -> str:
    """The suite's name, and of a rate that less of it is better."""
    return f"{name}: rate, lower is better" if "rate" in result else name


def score_text(result: Mapping[str, Any]) -> str:
    """`score [low, high]` in per cent, the rate in place of the score where there is one, or
    `no score`."""
    keys = ("rate", "rate_low", "rate_high") if "rate" in result else ("score", "low", "high")
    value, low, high = (result[key] for key in keys)
    if value is None:
        return f"no {keys[0]}"
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _column(row: dict[str, Any], several: bool) -> str:
    """The column's label: the stage, with its run if there are several. The checkpoint's path is
    .../<run>/<NN>-<stage>/checkpoint."""
    return (
        f"{Path(row['checkpoint']).parents[1].name}:{row['stage']}"
        if several
        else str(row["stage"])
    )


def _cell(row: dict[str, Any]) -> str:
    score, delta = score_text(row), row["rate_delta" if "rate" in row else "delta"]
    mark = "*" if row.get("verdict") else ""
    return score if delta is None else f"{score} {100 * delta:+.1f}{mark}"
