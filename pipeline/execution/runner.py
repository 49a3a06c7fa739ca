"""Runs a plan: skips finished stages, refuses to overwrite stale ones, and runs every other stage
in its own process.

A finished folder is only replaced if `--redo` names its stage or one that it depends on
(`redo.py`)."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from common.errors import BadInput, BudgetSpent, Interrupted, UphillError
from common.execution import devices_of
from pipeline.execution.attempt import Attempt, recover
from pipeline.execution.budget import Budget
from pipeline.execution.early import run_early_check
from pipeline.execution.failures import missing_folder
from pipeline.execution.forked import Nursery
from pipeline.execution.gate import check_gates_of
from pipeline.execution.gates import inputs_of
from pipeline.execution.gpus import notice, require_enough
from pipeline.execution.prune import prune
from pipeline.execution.redo import refuse_stale, set_folder_aside, to_redo
from pipeline.execution.request import RunRequest
from pipeline.execution.run_folder import save_plan
from pipeline.execution.signals import Signals
from pipeline.execution.stage_process import run_attempt, settings
from pipeline.execution.state import NodeState, input_records, inspect, partial_of
from pipeline.planning.plan import EVALUATIONS, Node, folder_of
from pipeline.recipe.schema import RuntimeConfig
from pipeline.store.adopted import require_source
from pipeline.store.lock import owned
from pipeline.store.record import require_weights, verify
from pipeline.tracking.trackers import Trackers
from stages.declaration import PROMPTS_STAGE


def run_plan(request: RunRequest) -> None:
    """Run the request to its end. Raises BadInput, RunFailed, GateStopped or Interrupted."""
    nodes = request.nodes()
    selected = {node.id for node in nodes}
    for stage in request.redo:
        if request.plan[stage].id not in selected:
            raise BadInput(
                f"--redo {stage}: the stage is not among those to run", "widen --stage or --until"
            )
    with (
        owned(request.run) as folder_exists,
        Signals(request.grace) as signals,
        Nursery() as nursery,
        _trackers_of(request) as trackers,
    ):
        signals.announce = lambda: request.reporter.line(
            "stopping: the stage saves its state (repeat to stop at once)"
        )
        states = inspect(request.plan, request.run)
        again = to_redo(request, selected)
        refuse_stale(request, nodes, states, again)
        for node in nodes:
            if node.adopts and (node.id in again or states[node.id].state != "done"):
                require_source(node.id, Path(node.adopts))
            require_enough(node.id, node.execution, os.environ)
        trackers.start()
        save_plan(request.run, request.plan)
        alone = all(devices_of(node.execution).alone for node in request.plan.nodes)
        if alone and (message := notice(os.environ)):
            request.reporter.line(message)
        for stage in again:
            set_folder_aside(request, states[stage])
        for number, node in enumerate(nodes, start=1):
            title = f"[{number}/{len(nodes)}] {node.id}"
            try:
                _run_checked(request, node, title, signals, folder_exists, nursery, trackers)
            except (UphillError, OSError):
                if not folder_exists():  # the cause of any other error
                    raise missing_folder(request.run) from None
                raise


def _run_checked(
    request: RunRequest,
    node: Node,
    title: str,
    signals: Signals,
    folder_exists: Callable[[], bool],
    nursery: Nursery,
    trackers: Trackers,
) -> None:
    """Run a stage between the early check and the gate, and prune what nothing needs after it."""
    if node.id != PROMPTS_STAGE:
        run_early_check(request, signals, node.id, nursery)
    _run_one(request, node, title, signals, folder_exists, nursery, trackers)
    folder = folder_of(node, request.run)
    trackers.finish(node.id, folder, partial_of(folder))
    check_gates_of(request, node)
    for stage in prune(request.plan, inspect(request.plan, request.run)):
        request.reporter.line(f"{stage}: weights removed by runtime.keep")


def _trackers_of(request: RunRequest) -> Trackers:
    """The trackers that the recipe names, not yet started."""
    names = RuntimeConfig.model_validate(request.plan.runtime).report_to
    return Trackers(names, request.run, request.plan.name, request.reporter.line)


def _run_one(
    request: RunRequest,
    node: Node,
    title: str,
    signals: Signals,
    folder_exists: Callable[[], bool],
    nursery: Nursery,
    trackers: Trackers,
) -> None:
    """Run a stage unless it is already done."""
    if not folder_exists():
        raise missing_folder(request.run)
    states = inspect(request.plan, request.run)
    state = states[node.id]
    if state.state == "done":
        verify(state.folder, node.id, whole=False)
        request.reporter.line(f"{title}: already done, skipped")
        return
    if signals.requested:
        message = f"stopped before stage {node.id!r}"
        raise Interrupted(message, "run the same command again to continue")
    attempt = _attempt_at(request, node, states)
    if recover(attempt):
        request.reporter.line(f"{title}: already done, skipped")
        return
    _require_budget(request, attempt, states, signals)
    if not folder_exists():  # reading the inputs may have taken minutes
        raise missing_folder(request.run)
    try:
        run_attempt(attempt, title, signals, request.reporter, nursery, trackers)
    except Interrupted:
        if signals.reason is None:
            raise
        raise _over_budget(f"in stage {node.id!r}: {signals.reason}") from None


def _attempt_at(request: RunRequest, node: Node, states: dict[str, NodeState]) -> Attempt:
    """An attempt at a stage, after checking every byte of its inputs against their records."""
    made_from, inputs = input_records(node, states), inputs_of(node, states)
    for name, stage in inputs.items():
        if name not in made_from:
            message = f"stage {node.id!r} needs {stage!r}, which is {states[stage].state}"
            raise BadInput(message, f"run {stage!r} first")
    begin = time.monotonic()
    for stage in dict.fromkeys(inputs.values()):
        verify(states[stage].folder, stage, whole=True)
    checking = time.monotonic() - begin
    for name in node.weight_inputs:
        require_weights(states[inputs[name]].folder, inputs[name])
    return Attempt(
        node,
        states[node.id].folder,
        {name: states[stage].folder for name, stage in inputs.items()},
        made_from,
        settings(request.plan, request.run / EVALUATIONS),
        datetime.now(UTC),
        seconds_checking=checking,
    )


def _require_budget(
    request: RunRequest, attempt: Attempt, states: dict[str, NodeState], signals: Signals
) -> None:
    """BudgetSpent when the budget is exceeded before the stage runs; `signals` stops the stage if
    that happens later."""
    budget = Budget.of(request.plan.budget, states, attempt)
    if reason := budget.exceeded():
        raise _over_budget(f"before stage {attempt.node.id!r}: {reason}")
    signals.limit = budget.exceeded


def _over_budget(where: str) -> BudgetSpent:
    return BudgetSpent(
        f"the budget is spent {where}",
        "raise it in the recipe and run the same command again to continue",
    )
