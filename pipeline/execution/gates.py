"""Asks the gates of a run, and what follows for the stages after them.

A verdict follows from finished evaluations and the recipe alone. So it is not kept for later
decisions: whoever needs it asks again, and a run that was killed decides as before."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from common.artifacts import CHECKPOINT
from common.errors import GateStopped
from evals.gate_config import GateConfig
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import record_checksum
from stages.declaration import FROM

if TYPE_CHECKING:
    from evals.gate import Verdict
    from evals.parts import DevScores


class State(Protocol):
    """What is read of a node's state on disk."""

    @property
    def state(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def instead(self) -> str | None: ...


States = Mapping[str, State]


def inputs_of(node: Node, states: States) -> dict[str, str]:
    """Input name to the id of the node that it is read from: the planned one, or the one that a
    gate went back to. An evaluation evaluates what it is named after."""
    if node.evaluated is not None:
        return dict(node.inputs)
    weights = set(node.weight_inputs)
    return {
        name: (states[stage].instead or stage) if name in weights else stage
        for name, stage in node.inputs.items()
    }


def evaluated_parent(plan: Plan, states: States, stage: str) -> str | None:
    """The nearest evaluated stage among those that the checkpoint of `stage` derives from."""
    evaluated = {node.evaluated for node in plan.nodes if node.evaluated}
    parent = started_from(plan, states, stage)
    while parent is not None and parent not in evaluated:
        parent = started_from(plan, states, parent)
    return parent


def started_from(plan: Plan, states: States, stage: str) -> str | None:
    """The stage from whose checkpoint `stage` starts; None if it starts from none."""
    node = plan[stage]
    return inputs_of(node, states).get(FROM) if node.has_output(CHECKPOINT) else None


def verdicts_after(plan: Plan, states: States, node: Node) -> "list[Verdict]":
    """What the gates say after the finished evaluation `node`, in the recipe's order. Raises
    GateStopped where a score is missing."""
    stage = node.evaluated
    if stage is None:
        return []
    gates = [GateConfig.model_validate(gate) for gate in plan.gates]
    gates = [gate for gate in gates if gate.holds_for(stage)]
    if not gates:
        return []
    from evals.gate import verdict

    parent = evaluated_parent(plan, states, stage)
    before = None if parent is None else _scores(plan, states, parent)
    after = _scores(plan, states, stage)
    assert after is not None
    return [verdict(gate, stage, after, parent, before) for gate in gates]


def all_verdicts(plan: Plan, states: States) -> "list[Verdict]":
    """What the gates say of all finished evaluations that have a score."""
    found: list[Verdict] = []
    for node in plan.nodes:
        if states[node.id].state == "done":
            with suppress(GateStopped):
                found += verdicts_after(plan, states, node)
    return found


def _scores(plan: Plan, states: States, stage: str) -> "DevScores | None":
    """The dev scores of a stage's checkpoint; None if it is not evaluated yet."""
    node = next(one for one in plan.nodes if one.evaluated == stage)
    if states[node.id].state != "done":
        return None
    folder = states[node.id].folder
    return _read(folder, record_checksum(folder))


@lru_cache(maxsize=64)
def _read(folder: Path, record: str) -> "DevScores":
    """The dev scores in a folder, read once for each execution of its evaluation."""
    from evals.reading import dev_answers

    return dev_answers(folder)


def goes_back_to(plan: Plan, states: States, node: Node) -> str | None:
    """The stage from whose checkpoint later stages go on after the finished evaluation `node`,
    because a gate went back; None where they go on from the evaluated one."""
    if node.evaluated is None or all(gate["then"] != "parent" for gate in plan.gates):
        return None
    try:
        verdicts = verdicts_after(plan, states, node)
    except GateStopped:  # the run ends there
        return None
    failed = {one.then for one in verdicts if not one.passed}
    if "parent" not in failed or "stop" in failed:
        return None
    return started_from(plan, states, node.evaluated)


def may_go_back_to(plan: Plan, states: States, node: Node) -> str | None:
    """The stage that the unfinished evaluation `node` may still send the run back to."""
    gates = [GateConfig.model_validate(gate) for gate in plan.gates if gate["then"] == "parent"]
    stage = node.evaluated
    if stage is None or not any(gate.holds_for(stage) for gate in gates):
        return None
    return started_from(plan, states, stage)
