"""Checks the gates after an evaluation: ends the run, or says and records how it goes on."""

from pathlib import Path

from common.errors import GateStopped
from common.files import write_sealed
from pipeline.execution.gates import all_verdicts, started_from, verdicts_after
from pipeline.execution.request import RunRequest
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import FORMAT

VERDICTS = "gates.json"
"""File in a run folder with the verdicts on all of its evaluations; written for people and for the
report, read by no decision."""


def check_gates_of(request: RunRequest, node: Node) -> None:
    """GateStopped when a gate ends the run after the evaluation `node`, or a score is missing. The
    final parts are not read."""
    if node.evaluated is None or not request.plan.gates:
        return
    states = inspect(request.plan, request.run)
    verdicts = verdicts_after(request.plan, states, node)
    _record(request.run, request.plan, states)
    failed = [one for one in verdicts if not one.passed]
    back = started_from(request.plan, states, node.evaluated)
    for one in failed:
        if one.then == "stop" or (one.then == "parent" and back is None):
            why = "; there is no parent to go back to" if one.then == "parent" else ""
            raise GateStopped(f"{one.message}{why}", one.remedy)
    for one in verdicts:
        if one.message and one.passed:
            request.reporter.line(one.message)
    if any(one.then == "parent" for one in failed):
        follows = f"later stages go on from {back!r} instead of {node.evaluated!r}"
    else:
        follows = "the run goes on with it, as the gate says"
    for one in failed:
        request.reporter.line(f"{one.message}; {follows}")


def _record(run: Path, plan: Plan, states: dict[str, NodeState]) -> None:
    """Write the verdicts on all finished evaluations."""
    found = [one.to_json() for one in all_verdicts(plan, states)]
    write_sealed(run / VERDICTS, {"format": FORMAT, "verdicts": found})
