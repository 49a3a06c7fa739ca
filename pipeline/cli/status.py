"""`uphill status`: the state and the last figures of each stage. Reads only the run folder."""

from pathlib import Path
from typing import Any

from common.artifacts import METRICS
from pipeline.execution.progress import short
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import NodeState, inspect, read_small, why_stale
from pipeline.planning.disk import used_mib
from pipeline.planning.plan import Node
from pipeline.store.adopted import origin_of
from pipeline.store.record import FAILURE

ROUTER = "router/"
"""Prefix of the metrics of the routers (`training/router_metrics.py`)."""
CURRICULUM = "curriculum/"
"""Prefix of the metrics of the curriculum (`curriculum/plots.py`)."""
PARTS = (CURRICULUM, ROUTER)


def status_of(run: Path) -> dict[str, Any]:
    """The document of `status --json`."""
    plan = load_plan(run)
    states = inspect(plan, run)
    return {"run": plan.name, "stages": [_row(node, states[node.id]) for node in plan.nodes]}


def _row(node: Node, state: NodeState) -> dict[str, Any]:
    record = state.record or {}
    unfinished = state.record is None and state.partial.exists()
    return {
        "id": node.id,
        "kind": node.kind,
        "state": state.state,
        "seconds": record.get("seconds"),
        "tokens_generated": record.get("tokens_generated"),
        "tokens_trained": record.get("tokens_trained"),
        "path": str(state.partial if unfinished else state.folder),
        "disk_mib": used_mib(state.partial if unfinished else state.folder),
        "metrics": _last_metrics(state.partial) if unfinished else record.get("metrics", {}),
        "note": note_on(state),
    }


def note_on(state: NodeState) -> str:
    """A remark on a stage's state; often empty."""
    if state.state == "stale":
        return why_stale(state)
    if state.state == "failed":
        return str((read_small(state.partial / FAILURE) or {}).get("message", "")).split("\n")[0]
    if state.instead is not None:
        return f"a gate refused it: later stages go on from {state.instead!r}"
    if state.record and origin_of(state.record):
        return "adopted from another run"
    return (
        "continues from its last attempt"
        if state.state == "todo" and state.partial.exists()
        else ""
    )


def _last_metrics(partial: Path) -> dict[str, Any]:
    lines = METRICS.read(partial)
    return lines[-1] if lines else {}


def status_table(status: dict[str, Any]) -> list[list[str]]:
    """The rows of the printed table, the header first."""
    header = [
        "stage",
        "kind",
        "state",
        "seconds",
        "generated",
        "trained",
        "MiB",
        "figures",
        "curriculum",
        "routers",
    ]
    rows = [header]
    for stage in status["stages"]:
        seconds = "" if stage["seconds"] is None else f"{stage['seconds']:.1f}"
        tokens = [
            "" if stage[key] is None else f"{stage[key]:,}"
            for key in ("tokens_generated", "tokens_trained")
        ]
        metrics = stage["metrics"]
        figures = stage["note"] or short(
            {k: v for k, v in metrics.items() if not k.startswith((ROUTER, CURRICULUM))}
        )
        parts = [
            short({k.removeprefix(p): v for k, v in metrics.items() if k.startswith(p)}, 6)
            for p in PARTS
        ]
        rows.append(
            [
                stage["id"],
                stage["kind"],
                stage["state"],
                seconds,
                *tokens,
                f"{stage['disk_mib']:,.1f}",
                figures,
                *parts,
            ]
        )
    return rows
