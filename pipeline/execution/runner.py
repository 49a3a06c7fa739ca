"""Runs a plan: skips what is done, refuses what would be overwritten, and gives every other stage
its own process.

The rule for finished folders: nothing finished is ever replaced unless `--redo` names it or
something it was made from (`redo.py`)."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from common.errors import BadInput, BudgetSpent, Interrupted, UphillError
from pipeline.execution.attempt import (
    Attempt,
    recover,
)
from pipeline.execution.budget import Budget
from pipeline.execution.early import ask_early
from pipeline.execution.failures import vanished
from pipeline.execution.gate import check_gate_of
from pipeline.execution.gpus import notice
from pipeline.execution.process import Signals
from pipeline.execution.prune import prune
from pipeline.execution.redo import refuse_stale, set_folder_aside, to_redo
from pipeline.execution.request import RunRequest
from pipeline.execution.run_folder import save_plan
from pipeline.execution.stage_process import run_attempt, settings
from pipeline.execution.state import NodeState, input_records, inspect
from pipeline.planning.plan import Node
from pipeline.store.adopted import require_source
from pipeline.store.lock import owned
from pipeline.store.record import require_weights, verify
from stages.declaration import PROMPTS_STAGE


def run_plan(request: RunRequest) -> None:
    """Run the request to its end. Raises BadInput, RunFailed, GateStopped or Interrupted."""
    nodes = request.nodes()
    named = {node.id for node in nodes}
    for stage in request.redo:
        if request.plan[stage].id not in named:
            raise BadInput(
                f"--redo {stage}: the stage is not among those to run", "widen --stage or --until"
            )
    with owned(request.run) as there, Signals(request.grace) as signals:
        signals.announce = lambda: request.reporter.line(
            "stopping: the stage saves its state (once more: at once)"
        )
        states = inspect(request.plan, request.run)
        again = to_redo(request, named)
        refuse_stale(request, nodes, states, again)
        for node in nodes:
            if node.adopts and (node.id in again or states[node.id].state != "done"):
                require_source(node.id, Path(node.adopts))
        save_plan(request.run, request.plan)
        if told := notice(os.environ):
            request.reporter.line(told)
        for stage in again:
            set_folder_aside(request, states[stage])
        for number, node in enumerate(nodes, start=1):
            try:
                if node.id != PROMPTS_STAGE:
                    ask_early(request, signals, before=node.id)
                _run_one(request, node, f"[{number}/{len(nodes)}] {node.id}", signals, there)
                check_gate_of(request, node)
                for stage in prune(request.plan, inspect(request.plan, request.run)):
                    request.reporter.line(f"{stage}: weights removed by runtime.keep")
            except (UphillError, OSError):
                if not there():  # whatever it was, this is why
                    raise vanished(request.run) from None
                raise


def _run_one(
    request: RunRequest, node: Node, title: str, signals: Signals, there: Callable[[], bool]
) -> None:
    """Run a stage unless it is done already."""
    if not there():
        raise vanished(request.run)
    states = inspect(request.plan, request.run)
    state = states[node.id]
    if state.state == "done":
        verify(state.folder, node.id, whole=False)
        request.reporter.line(f"{title}: done before, skipped")
        return
    if signals.requested:
        message = f"stopped before stage {node.id!r}"
        raise Interrupted(message, "the same command goes on from there")
    attempt = _attempt_at(request, node, states)
    if recover(attempt):
        request.reporter.line(f"{title}: done before, skipped")
        return
    _require_budget(request, attempt, states, signals)
    if not there():  # to read the inputs may have taken minutes
        raise vanished(request.run)
    try:
        run_attempt(attempt, title, signals, request.reporter)
    except Interrupted:
        if signals.reason is None:
            raise
        raise _spent(f"in stage {node.id!r}: {signals.reason}") from None


def _attempt_at(request: RunRequest, node: Node, states: dict[str, NodeState]) -> Attempt:
    """An attempt at a stage whose inputs are there, every byte as it was recorded."""
    made_from = input_records(node, states)
    for name, stage in node.inputs.items():
        if name not in made_from:
            message = f"stage {node.id!r} needs {stage!r}, which is {states[stage].state}"
            raise BadInput(message, f"run {stage!r} first")
    begin = time.monotonic()
    for stage in dict.fromkeys(node.inputs.values()):
        verify(states[stage].folder, stage, whole=True)
    checking = time.monotonic() - begin
    for name in node.weight_inputs:
        require_weights(states[node.inputs[name]].folder, node.inputs[name])
    return Attempt(
        node,
        states[node.id].folder,
        {name: states[stage].folder for name, stage in node.inputs.items()},
        made_from,
        settings(request.plan),
        datetime.now(UTC),
        seconds_checking=checking,
    )


def _require_budget(
    request: RunRequest, attempt: Attempt, states: dict[str, NodeState], signals: Signals
) -> None:
    """BudgetSpent when the run has nothing left for a stage; `signals` stops it when that comes
    later."""
    budget = Budget.of(request.plan.budget, states, attempt)
    if reason := budget.exceeded():
        raise _spent(f"before stage {attempt.node.id!r}: {reason}")
    signals.limit = budget.exceeded


def _spent(where: str) -> BudgetSpent:
    return BudgetSpent(
        f"the budget is spent {where}",
        "raise it in the recipe, and the same command goes on from there",
    )
