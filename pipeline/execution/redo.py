"""Replaces finished stages, only where `--redo` asks for it. Replaced folders move to `replaced/`.

One earlier version per stage is kept, including the checkpoints of an unfinished stage."""

import shutil
from collections.abc import Sequence

from common.errors import BadInput
from pipeline.execution.attempt import REPLACED, set_aside
from pipeline.execution.request import RunRequest
from pipeline.execution.state import NodeState, why_stale
from pipeline.planning.plan import Node


def to_redo(request: RunRequest, selected: set[str]) -> list[str]:
    """Ids of the stages that `--redo` names and of those that depend on them, within the selected
    nodes."""
    wanted = set(request.redo)
    for stage in request.redo:
        wanted |= {node.id for node in request.plan.downstream(stage)}
    return [node.id for node in request.plan.nodes if node.id in wanted & selected]


def refuse_stale(
    request: RunRequest, nodes: Sequence[Node], states: dict[str, NodeState], again: list[str]
) -> None:
    """BadInput when a finished stage does not fit the plan and is not in `again`, the stages to
    redo."""
    stale = [node for node in nodes if states[node.id].state == "stale" and node.id not in again]
    stale_ids = {node.id for node in stale}
    # A stage that is stale only because of another one in the list gets no line of its own.
    roots = [
        node
        for node in stale
        if states[node.id].changes or not stale_ids & set(states[node.id].remade)
    ]
    if roots:
        lines = [
            f"{states[node.id].folder}: stage {node.id!r} {why_stale(states[node.id])}"
            for node in roots
        ]
        redo = " ".join(f"--redo {node.id}" for node in roots)
        raise BadInput(
            "\n".join(lines),
            f"`{redo}` runs it and what depends on it again; or give the recipe a new name",
        )


def set_folder_aside(request: RunRequest, state: NodeState) -> None:
    """Move a finished folder to `replaced/`. An unfinished one moves too if it has checkpoints, and
    is removed otherwise."""
    if state.partial.exists():
        if outcome := set_aside(state.partial):
            request.reporter.line(f"{state.partial} {outcome}")
        if state.partial.exists():
            shutil.rmtree(state.partial)
    if state.folder.exists():
        target = request.run / REPLACED / state.folder.relative_to(request.run)
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        state.folder.rename(target)
        request.reporter.line(f"{state.folder} moved to {target}")
