"""One attempt at a stage in a process of its own, to its finished folder or to what stopped it."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from common.errors import BadInput, Interrupted, UphillError
from common.files import same_file, write_json
from pipeline.execution.attempt import (
    LOG,
    Attempt,
    finish,
    note,
    prepare,
)
from pipeline.execution.failures import failure, vanished
from pipeline.execution.faults import FULL, what_to_lower
from pipeline.execution.process import Signals, run_process
from pipeline.execution.progress import Reporter, short
from pipeline.planning.plan import Plan
from pipeline.recipe.limits import cores
from pipeline.recipe.schema import RuntimeConfig
from pipeline.store.adopted import require_origin
from pipeline.store.record import ATTEMPT, FAILURE


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
