"""Runs a plan: skips what is done, refuses what would be overwritten, and gives every other node
its own process.

The rule for finished folders: nothing finished is ever replaced unless `--redo` names it or
something it was made from. What `--redo` replaces is moved to `<run>/replaced/` (one earlier
version a stage), the checkpoints of an unfinished stage too."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import BadInput, BudgetSpent, Interrupted, RunFailed, UphillError
from common.files import read_json, same_file, write_json
from pipeline.execution.attempt import (
    LOG,
    REPLACED,
    Attempt,
    finish,
    note,
    prepare,
    recover,
    set_aside,
)
from pipeline.execution.budget import Budget
from pipeline.execution.failures import failure, vanished
from pipeline.execution.faults import FULL, what_to_lower
from pipeline.execution.gpus import notice
from pipeline.execution.process import SECONDS_TO_SAVE, Signals, run_process
from pipeline.execution.progress import Reporter, short
from pipeline.execution.prune import prune
from pipeline.execution.run_folder import save_plan
from pipeline.execution.state import NodeState, input_records, inspect, why_stale
from pipeline.planning.plan import Node, Plan, chosen
from pipeline.recipe.limits import cores
from pipeline.recipe.schema import RuntimeConfig
from pipeline.store.adopted import require_origin, require_source
from pipeline.store.lock import owned
from pipeline.store.record import ATTEMPT, FAILURE, read_record, require_weights, verify
from stages.declaration import PROMPTS_STAGE

PREFLIGHT = "preflight"
"""The folder of a run with what the early check found."""


@dataclass(frozen=True)
class RunRequest:
    """What part of a plan to run, in which folder."""

    plan: Plan
    run: Path
    only: str | None = None
    until: str | None = None
    redo: Sequence[str] = ()
    reporter: Reporter = field(default_factory=Reporter)
    grace: float = SECONDS_TO_SAVE
    """Seconds that a stage gets to save its state when a stop is asked for."""

    def nodes(self) -> Sequence[Node]:
        return chosen(self.plan, self.only, self.until)


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
        again = _to_redo(request, named)
        _refuse_stale(request, nodes, states, again)
        for node in nodes:
            if node.adopts and (node.id in again or states[node.id].state != "done"):
                require_source(node.id, Path(node.adopts))
        save_plan(request.run, request.plan)
        if told := notice(os.environ):
            request.reporter.line(told)
        for stage in again:
            _set_aside(request, states[stage])
        for number, node in enumerate(nodes, start=1):
            try:
                if node.id != PROMPTS_STAGE:
                    ask_early(request, signals, before=node.id)
                _run_one(request, node, f"[{number}/{len(nodes)}] {node.id}", signals, there)
                _check_gate(request, node)
                for stage in prune(request.plan, inspect(request.plan, request.run)):
                    request.reporter.line(f"{stage}: weights removed by runtime.keep")
            except (UphillError, OSError):
                if not there():  # whatever it was, this is why
                    raise vanished(request.run) from None
                raise


def _to_redo(request: RunRequest, named: set[str]) -> list[str]:
    """The ids that `--redo` asks for: what it names and what was made from that, within the nodes
    to run."""
    wanted = set(request.redo)
    for stage in request.redo:
        wanted |= {node.id for node in request.plan.downstream(stage)}
    return [node.id for node in request.plan.nodes if node.id in wanted & named]


def _refuse_stale(
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


def _set_aside(request: RunRequest, state: NodeState) -> None:
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


def _run_one(
    request: RunRequest, node: Node, title: str, signals: Signals, there: Callable[[], bool]
) -> None:
    if not there():
        raise vanished(request.run)
    states = inspect(request.plan, request.run)
    state = states[node.id]
    if state.state == "done":
        verify(state.folder, node.id, whole=False)
        request.reporter.line(f"{title}: done before, skipped")
        return
    if signals.requested:
        raise Interrupted(
            f"stopped before stage {node.id!r}", "the same command goes on from there"
        )
    made_from = input_records(node, states)
    for name, stage in node.inputs.items():
        if name not in made_from:
            raise BadInput(
                f"stage {node.id!r} needs {stage!r}, which is {states[stage].state}",
                f"run {stage!r} first",
            )
    begin = time.monotonic()
    for stage in dict.fromkeys(node.inputs.values()):
        verify(states[stage].folder, stage, whole=True)
    checking = time.monotonic() - begin
    for name in node.weight_inputs:
        require_weights(states[node.inputs[name]].folder, node.inputs[name])
    inputs = {name: states[stage].folder for name, stage in node.inputs.items()}
    attempt = Attempt(
        node,
        state.folder,
        inputs,
        made_from,
        settings(request.plan),
        datetime.now(UTC),
        seconds_checking=checking,
    )
    if recover(attempt):
        request.reporter.line(f"{title}: done before, skipped")
        return
    budget = Budget.of(request.plan.budget, states, attempt)
    if reason := budget.exceeded():
        raise _spent(f"before stage {node.id!r}: {reason}")
    signals.limit = budget.exceeded
    if not there():  # to read the inputs may have taken minutes
        raise vanished(request.run)
    try:
        run_attempt(attempt, title, signals, request.reporter)
    except Interrupted:
        if signals.reason is None:
            raise
        raise _spent(f"in stage {node.id!r}: {signals.reason}") from None


def ask_early(request: RunRequest, signals: Signals, before: str | None = None) -> None:
    """Ask what would otherwise end the run late, unless the stage `before` which it is asked is
    done already.

    It needs the prompts. What was found is not asked again while nothing changes.
    """
    node, states = request.plan.preflight, inspect(request.plan, request.run)
    if node is None or states[PROMPTS_STAGE].state != "done" or signals.requested:
        return
    if before is not None and states[before].state == "done":
        return
    folder, made_from = request.run / PREFLIGHT, input_records(node, states)
    record = read_record(folder)
    if record and record["fingerprint"] == node.fingerprint and record["inputs"] == made_from:
        return
    shutil.rmtree(folder, ignore_errors=True)
    verify(states[PROMPTS_STAGE].folder, PROMPTS_STAGE, whole=True)
    inputs = {name: states[stage].folder for name, stage in node.inputs.items()}
    attempt = Attempt(node, folder, inputs, made_from, settings(request.plan), datetime.now(UTC))
    run_attempt(attempt, "early check", signals, request.reporter)


def _spent(where: str) -> BudgetSpent:
    return BudgetSpent(
        f"the budget is spent {where}",
        "raise it in the recipe, and the same command goes on from there",
    )


def settings(plan: Plan) -> dict[str, Any]:
    """How the processes of a plan's stages run, with every default.

    No more threads than there are CPUs: a run folder may have come from a larger machine."""
    runtime = RuntimeConfig.model_validate(plan.runtime)
    return {
        "threads": min(runtime.threads or cores(), cores()),
        "stall_minutes": runtime.stall_minutes,
        "divergence": runtime.divergence.model_dump(mode="json"),
    }


def run_attempt(attempt: Attempt, title: str, signals: Signals, reporter: Reporter) -> None:
    """Run one attempt to its finished folder, or raise what stopped it and keep what it left for
    another attempt."""
    try:
        attempt, notice = prepare(attempt)
    except OSError as problem:
        if problem.errno in FULL:
            raise
        message = f"{attempt.partial}: cannot be written to: {problem.strerror}"
        raise BadInput(message, "make the run folder writable") from None
    reporter.line(f"{title}: {notice or 'starts'}")
    handle = os.open(attempt.partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _attempt(attempt, title, signals, reporter, lambda: same_file(handle, attempt.partial))
    finally:
        os.close(handle)


def _attempt(
    attempt: Attempt, title: str, signals: Signals, reporter: Reporter, there: Callable[[], bool]
) -> None:
    """Run the process of an attempt that is prepared, as long as its folder is `there`."""
    with reporter.stage(title) as tell:
        stall = 60 * attempt.settings["stall_minutes"]
        returncode, last = run_process(
            attempt.partial / ATTEMPT, attempt.partial / LOG, signals, tell, stall, there
        )
    if last.get("type") == "vanished" or not there():
        raise vanished(attempt.partial)  # and not a word is written into what may be in its place
    if last.get("type") != "finished":
        error = failure(
            attempt.node.id,
            what_to_lower(attempt.node.id, attempt.node.execution),
            returncode,
            last,
            attempt.partial / LOG,
            signals.requested,
        )
        _keep_failure(attempt, error)
        raise error
    try:
        if attempt.node.adopts:
            require_origin(attempt.partial, attempt.node.identity)
        finish(attempt, last)
    except FileNotFoundError:
        if there():
            raise
        raise vanished(attempt.partial) from None
    figures = short(last["metrics"])
    reporter.line(f"{title}: done in {attempt.seconds():.1f} s{': ' if figures else ''}{figures}")


def _keep_failure(attempt: Attempt, error: UphillError) -> None:
    """Leave word in the working folder, as far as the disk lets us: an interruption is no
    failure."""
    with suppress(OSError):
        note(attempt, ended=True)
        if not isinstance(error, Interrupted):
            kind = type(error).__name__
            write_json(
                attempt.partial / FAILURE,
                {"kind": kind, "message": error.message, "remedy": error.remedy},
            )


def _check_gate(request: RunRequest, node: Node) -> None:
    """GateStopped when the evaluation `node` fell too far below that of the checkpoint it came
    from, or cannot tell."""
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
    """The parsed `results.json` of a finished evaluation."""
    try:
        results: dict[str, Any] = read_json(state.folder / "results.json")
    except (OSError, ValueError) as error:
        raise RunFailed(
            f"{state.folder / 'results.json'}: cannot be read: {error}", "run the evaluation again"
        ) from None
    return results
