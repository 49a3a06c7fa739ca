"""Checks the gate after an evaluation."""

from typing import Any

from common.artifacts import RESULTS
from common.errors import RunFailed
from pipeline.execution.request import RunRequest
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node


def check_gate_of(request: RunRequest, node: Node) -> None:
    """GateStopped when the score of the evaluation `node` fell too far below the one of the parent
    checkpoint, or when a score is missing."""
    gate = request.plan.gate
    if gate is None or node.evaluated is None:
        return
    from evals.gate import check_gate, require_score

    states, stage = inspect(request.plan, request.run), node.evaluated
    after = _results(states[node.id])
    require_score(after, gate["suite"], stage)
    parent = request.plan.evaluated_parent(stage)
    if parent is None:
        return
    before = next(n for n in request.plan.nodes if n.evaluated == parent)
    if states[before.id].state != "done":
        request.reporter.line(f"the gate was not checked: {before.id} is {states[before.id].state}")
        return
    earlier = _results(states[before.id])
    require_score(earlier, gate["suite"], parent)
    check_gate(earlier, after, gate["suite"], gate["max_drop"])


def _results(state: NodeState) -> dict[str, Any]:
    """The content of `results.json` of a finished evaluation."""
    try:
        results: dict[str, Any] = RESULTS.read(state.folder)
    except (OSError, ValueError) as error:
        message = f"{RESULTS.path(state.folder)}: cannot be read: {error}"
        raise RunFailed(message, "run the evaluation again") from None
    return results
