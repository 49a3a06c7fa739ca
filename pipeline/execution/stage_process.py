"""Runs one attempt at a stage in its own process, up to the finished folder or the error."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import BadInput, Interrupted, UphillError
from common.execution import devices_of
from common.files import same_file, write_json
from pipeline.execution.attempt import Attempt, finish, prepare, write_attempt
from pipeline.execution.failures import failure, missing_folder
from pipeline.execution.faults import FULL, what_to_lower
from pipeline.execution.forked import Fork, Nursery
from pipeline.execution.process import run_process
from pipeline.execution.progress import Reporter, short
from pipeline.execution.signals import Signals
from pipeline.planning.plan import Plan
from pipeline.recipe.limits import cores
from pipeline.recipe.schema import RuntimeConfig
from pipeline.store.adopted import require_origin
from pipeline.store.record import ATTEMPT, FAILURE
from pipeline.tracking.trackers import Trackers

REPLIES = "replies.sqlite"
"""File among the evaluations of a run in which they keep the replies of checkpoints."""


def settings(plan: Plan, evaluations: Path | None = None) -> dict[str, Any]:
    """The runtime settings of a plan's stage processes, defaults included. `evaluations` is the
    folder of the evaluations, if there is one.

    Threads are limited to the CPUs: a run folder may come from a larger machine."""
    runtime = RuntimeConfig.model_validate(plan.runtime)
    return {
        "threads": min(runtime.threads or cores(), cores()),
        "stall_minutes": runtime.stall_minutes,
        "divergence": runtime.divergence.model_dump(mode="json"),
        **({} if evaluations is None else {"replies": str((evaluations / REPLIES).absolute())}),
    }


def run_attempt(
    attempt: Attempt,
    title: str,
    signals: Signals,
    reporter: Reporter,
    nursery: Nursery | None = None,
    trackers: Trackers | None = None,
) -> None:
    """Run one attempt up to its finished folder, or raise the error that stopped it. Its state
    stays for the next attempt. With a nursery its process is a fork, if it may be one. Trackers
    follow it."""
    try:
        attempt, notice = prepare(attempt)
    except OSError as error:
        if error.errno in FULL:
            raise
        message = f"{attempt.partial}: cannot be written to: {error.strerror}"
        raise BadInput(message, "make the run folder writable") from None
    reporter.line(f"{title}: {notice or 'starts'}")
    if trackers:
        trackers.begin(attempt.node.id, attempt.folder, attempt.partial)
    handle = os.open(attempt.partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fork = nursery.fork_of(attempt.node, attempt.settings["threads"]) if nursery else None
        exists = partial(same_file, handle, attempt.partial)
        _attempt(attempt, title, signals, reporter, exists, fork)
    finally:
        os.close(handle)


def _attempt(
    attempt: Attempt,
    title: str,
    signals: Signals,
    reporter: Reporter,
    folder_exists: Callable[[], bool],
    fork: Fork | None,
) -> None:
    """Run the processes of a prepared attempt, and finish or fail it."""
    devices = devices_of(attempt.node.execution)
    with reporter.stage(title) as on_message:
        stall = 60 * attempt.settings["stall_minutes"]
        ending = run_process(
            attempt.partial / ATTEMPT, devices, signals, on_message, stall, folder_exists, fork
        )
    last = ending.last
    if last.get("type") == "folder_missing" or not folder_exists():
        # Nothing is written: another folder may be in its place.
        raise missing_folder(attempt.partial)
    if last.get("type") != "finished":
        error = failure(
            attempt.node.id,
            what_to_lower(attempt.node.id, attempt.node.execution),
            ending,
            signals.requested,
        )
        _keep_failure(attempt, error)
        raise error
    try:
        if attempt.node.adopts:
            require_origin(attempt.partial, attempt.node.identity)
        finish(attempt, last)
    except FileNotFoundError:
        if folder_exists():
            raise
        raise missing_folder(attempt.partial) from None
    figures = short(last["metrics"])
    reporter.line(f"{title}: done in {attempt.seconds():.1f} s{': ' if figures else ''}{figures}")


def _keep_failure(attempt: Attempt, error: UphillError) -> None:
    """Record the error in the working folder if the disk allows it. An interruption is not a
    failure."""
    with suppress(OSError):
        write_attempt(attempt, ended=True)
        if not isinstance(error, Interrupted):
            kind = type(error).__name__
            write_json(
                attempt.partial / FAILURE,
                {"kind": kind, "message": error.message, "remedy": error.remedy},
            )
