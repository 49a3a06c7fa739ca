"""Runs the early check, which finds problems before they end an expensive stage."""

import shutil
from datetime import UTC, datetime

from pipeline.execution.attempt import Attempt
from pipeline.execution.forked import Nursery
from pipeline.execution.request import RunRequest
from pipeline.execution.signals import Signals
from pipeline.execution.stage_process import run_attempt, settings
from pipeline.execution.state import input_records, inspect
from pipeline.store.record import read_record, verify
from stages.declaration import PROMPTS_STAGE

PREFLIGHT = "preflight"
"""The folder of a run with the result of the early check."""


def run_early_check(
    request: RunRequest,
    signals: Signals,
    before: str | None = None,
    nursery: Nursery | None = None,
) -> None:
    """Run the early check, unless the stage that follows it, `before`, is already done.

    Needs the finished prompts. Not repeated while neither the recipe nor the prompts change."""
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
    run_attempt(attempt, "early check", signals, request.reporter, nursery)
