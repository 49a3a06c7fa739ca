"""`uphill verify`: checks every byte of a run's finished stages, from the last weights back to the
prompts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT
from common.errors import RunFailed
from common.reply_cache import ReplyCache
from pipeline.execution.early import PREFLIGHT
from pipeline.execution.gates import inputs_of
from pipeline.execution.run_folder import load_plan
from pipeline.execution.stage_process import REPLIES
from pipeline.execution.state import NodeState, inspect, why_stale
from pipeline.planning.plan import EVALUATIONS, Node, Plan, folder_of
from pipeline.store.adopted import origin_of, origin_problem
from pipeline.store.record import problems_in, read_record, record_checksum

WEIGHTS = f"{CHECKPOINT.file}/model.safetensors"


def verify_run(run: Path, stage: str | None = None) -> dict[str, Any]:
    """The document of `verify --json`: the problems of every stage from the last to the first, or
    of `stage` and the stages that it depends on. BadInput when a record or the plan is damaged."""
    plan = load_plan(run)
    states = inspect(plan, run)
    wanted = _upstream(plan, states, stage) if stage else {node.id for node in plan.nodes}
    rows = [_row(run, node, states[node.id]) for node in reversed(plan.nodes) if node.id in wanted]
    problems = [text for row in rows for text in row["problems"]] + (
        [] if stage else [*_early_check_problems(run), *_cache_problems(run)]
    )
    return {"run": plan.name, "stages": rows, "problems": problems}


def _early_check_problems(run: Path) -> list[str]:
    """Problems of the files of the early check, which is not a node."""
    folder = run / PREFLIGHT
    record = read_record(folder)
    return (
        [f"{path}: {problem}" for path, problem in problems_in(folder, record, whole=True)]
        if record
        else []
    )


def _cache_problems(run: Path) -> Iterator[str]:
    """What is wrong with the replies that evaluations remember."""
    path = run / EVALUATIONS / REPLIES
    if not path.is_file():
        return
    remedy = "remove it, and evaluations ask the checkpoints again"
    try:
        with ReplyCache(path) as cache:
            problem = cache.problem()
    except RunFailed as error:
        problem = error.message
    if problem:
        yield f"{path}: {problem}; {remedy}"


def _upstream(plan: Plan, states: Mapping[str, NodeState], stage: str) -> set[str]:
    """`stage` and the stages that it depends on, directly or not."""
    ids = {plan[stage].id}
    for node in reversed(plan.nodes):
        if node.id in ids:
            ids |= set(inputs_of(node, states).values())
    return ids


def _row(run: Path, node: Node, state: NodeState) -> dict[str, Any]:
    row = {"id": node.id, "state": state.state, "path": str(folder_of(node, run))}
    record = read_record(state.folder)
    if record is None:
        unknown = dict.fromkeys(("record", "weights", "adopted"))
        return {**row, **unknown, "files": 0, "bytes": 0, "made_from": [], "problems": []}
    problems = [
        f"{path}: {problem}" for path, problem in problems_in(state.folder, record, whole=True)
    ]
    if problem_of_origin := origin_problem(state.folder, record):
        problems.append(problem_of_origin)
    if state.state == "stale":
        problems.append(f"{state.folder}: {why_stale(state)}")
    return {
        **row,
        "record": record_checksum(state.folder),
        "files": len(record["files"]),
        "bytes": sum(file["size"] for file in record["files"].values()),
        "made_from": sorted({made["stage"] for made in record["inputs"].values()}),
        "adopted": origin_of(record),
        "weights": record["files"].get(WEIGHTS, {}).get("sha256"),
        "problems": problems,
    }


def verify_table(document: dict[str, Any]) -> list[list[str]]:
    """The rows of the printed table, the header first."""
    rows = [["stage", "state", "made from", "record", "weights", "files", "MiB", "problems"]]
    for row in document["stages"]:
        sums = [(row.get(name) or "")[:12] for name in ("record", "weights")]
        size = f"{row['bytes'] / 2**20:,.1f}"
        count = str(len(row["problems"])) if row["problems"] else ""
        made_from = (
            f"adopted ({row['adopted'][:12]})" if row["adopted"] else ", ".join(row["made_from"])
        )
        rows.append([row["id"], row["state"], made_from, *sums, str(row["files"]), size, count])
    return rows
