"""What a model card says, read from the records of the stages that the checkpoint was made from and
from their evaluations, every byte of which is checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.artifacts import CHECKPOINT, RESULTS
from common.files import read_json
from pipeline.cli.compare import rows_of
from pipeline.execution.run_folder import Checkpoint
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import verify
from stages.declaration import FROM


@dataclass(frozen=True)
class Made:
    """A finished stage that the checkpoint was made by or from."""

    node: Node
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """Everything that a model card is written from."""

    name: str
    """Run and stage."""
    checkpoint: Checkpoint
    config: Mapping[str, Any]
    """The checkpoint's `config.json`."""
    made: Sequence[Made]
    """All stages that the checkpoint depends on, in the order in which they ran; itself is the
    last."""
    rows: Sequence[Mapping[str, Any]]
    """The rows of `compare` about this checkpoint and those that it was trained from."""
    protocol: Mapping[str, Any]
    """The protocol of this checkpoint's evaluation; empty without one."""
    rollouts: Mapping[str, Any]
    """The engine that answered in this checkpoint's evaluation; empty without one."""
    licence: str | None
    """What the person who exports gave."""

    @property
    def own(self) -> list[Mapping[str, Any]]:
        """The rows about this checkpoint."""
        return [row for row in self.rows if row["stage"] == self.checkpoint.node.id]

    @property
    def model(self) -> Mapping[str, Any]:
        """The recipe's `model` section, as the starting stage has it; empty if that was adopted."""
        return next((one.node.config["model"] for one in self.made if _starts(one.node)), {})


def facts_of(checkpoint: Checkpoint, licence: str | None) -> Facts:
    """Read the facts. RunFailed where a file of an evaluation has changed since it was recorded,
    BadInput where one cannot be read."""
    plan, node = checkpoint.plan, checkpoint.node
    states = inspect(plan, checkpoint.run)
    line = [node.id, *_ancestors(plan, node)]
    evaluations = {
        one.evaluated: one
        for one in plan.nodes
        if one.evaluated in line and states[one.id].state == "done"
    }
    for one in evaluations.values():
        verify(states[one.id].folder, one.id, whole=True)
    own = evaluations.get(node.id)
    config = checkpoint.folder / "config.json"
    return Facts(
        name=f"{plan.name}-{node.id}",
        checkpoint=checkpoint,
        config=read_json(config) if config.is_file() else {},
        made=list(_made(plan, node, states)),
        rows=rows_of([checkpoint.run], line) if own else [],
        protocol=RESULTS.read(states[own.id].folder).get("protocol", {}) if own else {},
        rollouts=own.config["rollouts"] if own else {},
        licence=licence,
    )


def _starts(node: Node) -> bool:
    """Whether it is the stage that builds the starting model."""
    return node.has_output(CHECKPOINT) and not node.inputs and "model" in node.config


def _ancestors(plan: Plan, node: Node) -> Iterator[str]:
    """The stages whose checkpoints this one was trained from, the nearest first."""
    while FROM in node.inputs:
        node = plan[node.inputs[FROM]]
        yield node.id


def _made(plan: Plan, node: Node, states: Mapping[str, NodeState]) -> Iterator[Made]:
    """The stages that a checkpoint depends on, itself the last."""
    needed = {node.id}
    for one in reversed(plan.nodes):
        if one.id in needed:
            needed |= set(one.inputs.values())
    for one in plan.nodes:
        if one.id in needed and one.id != node.id:
            yield Made(one, states[one.id].record or {})
    yield Made(node, states[node.id].record or {})
