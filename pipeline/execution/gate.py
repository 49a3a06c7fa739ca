"""Checks the gate after an evaluation."""

from pipeline.execution.request import RunRequest
from pipeline.execution.state import inspect
from pipeline.planning.plan import Node


def check_gate_of(request: RunRequest, node: Node) -> None:
    """GateStopped when the dev score of the evaluation `node` fell too far below the one of the
    parent checkpoint, or when a score is missing. The final parts are not read."""
    gate = request.plan.gate
    if gate is None or node.evaluated is None:
        return
    from evals.gate import check_gate, require_score
    from evals.parts import dev_scores

    states, stage = inspect(request.plan, request.run), node.evaluated
    after = dev_scores(states[node.id].folder)
    require_score(after, gate["suite"], stage)
    parent = request.plan.evaluated_parent(stage)
    if parent is None:
        return
    before = next(n for n in request.plan.nodes if n.evaluated == parent)
    if states[before.id].state != "done":
        request.reporter.line(f"the gate was not checked: {before.id} is {states[before.id].state}")
        return
    earlier = dev_scores(states[before.id].folder)
    require_score(earlier, gate["suite"], parent)
    check_gate(earlier, after, gate["suite"], gate["max_drop"])
