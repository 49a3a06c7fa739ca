"""Finished stages are replaced only where `--redo` says so; what they were goes to `replaced/`.

One earlier version per stage is kept, the checkpoints of an unfinished stage too."""

import shutil
from collections.abc import Sequence

from common.errors import BadInput
from pipeline.execution.attempt import (
    REPLACED,
    set_aside,
)
from pipeline.execution.request import RunRequest
from pipeline.execution.state import NodeState, why_stale
from pipeline.planning.plan import Node


def to_redo(request: RunRequest, named: set[str]) -> list[str]:
    """The ids that `--redo` asks for: what it names and what was made from that, within the nodes
    to run."""
    wanted = set(request.redo)
    for stage in request.redo:
        wanted |= {node.id for node in request.plan.downstream(stage)}
    return [node.id for node in request.plan.nodes if node.id in wanted & named]


def refuse_stale(
    request: RunRequest, nodes: Sequence[Node], states: dict[str, NodeState], again: list[str]
) -> None:
    """BadInput when a finished stage does not fit the plan and nobody asked for it to be made
    again."""
    stale = [node for node in nodes if states[node.id].state == "stale" and node.id not in again]
    blamed = {node.id for node in stale}
    # Where the cause is itself in the list, only the cause is worth a line.
    roots = [
        node
        for node in stale
        if states[node.id].changes or not blamed & set(states[node.id].remade)
    ]
    if roots:
        lines = [
            f"{states[node.id].folder}: stage {node.id!r} {why_stale(states[node.id])}"
            for node in roots
        ]
        redo = " ".join(f"--redo {node.id}" for node in roots)
        raise BadInput(
            "\n".join(lines),
            f"`{redo}` runs it and what was made from it again; or give the recipe a new name",
        )


def set_folder_aside(request: RunRequest, state: NodeState) -> None:
    """Move a finished folder to `replaced/`, and an unfinished one if it has checkpoints; without
    any it is removed."""
    if state.partial.exists():
        if kept := set_aside(state.partial):
            request.reporter.line(f"{state.partial} {kept}")
        if state.partial.exists():
            shutil.rmtree(state.partial)
    if state.folder.exists():
        target = request.run / REPLACED / state.folder.relative_to(request.run)
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        state.folder.rename(target)
        request.reporter.line(f"{state.folder} moved to {target}")
