"""Turns the failure of a stage's process into an error with a remedy."""

import signal
from pathlib import Path
from typing import Any

from common.errors import BadInput, GateStopped, Interrupted, RunFailed, UphillError

ERRORS: dict[str, type[UphillError]] = {
    kind.__name__: kind for kind in (BadInput, RunFailed, GateStopped, Interrupted)
}


def failure(
    stage: str, remedy: str, returncode: int, last: dict[str, Any], log: Path, stopping: bool
) -> UphillError:
    """The error of a worker that did not finish: its own message if it sent one, otherwise how it
    ended, with the last lines of its log. `last` is its last message; `remedy` names the settings
    to lower when memory runs out."""
    if last.get("type") == "error":
        return ERRORS.get(last["kind"], RunFailed)(
            f"stage {stage!r}: {last['message']}", last["remedy"]
        )
    if last.get("type") == "stalled":
        return RunFailed(
            f"stage {stage!r} made no progress for runtime.stall_minutes and was terminated; log:"
            f" {log}{_tail(log)}",
            "read the log; raise runtime.stall_minutes if the stage only needs longer; run the same"
            " command again to continue",
        )
    if stopping and returncode < 0:
        return Interrupted(
            f"stage {stage!r} was stopped",
            "run the same command again to continue from its last checkpoint",
        )
    if returncode < 0:
        name = signal.Signals(-returncode).name
        message = f"stage {stage!r} was killed by {name} ({-returncode}); log: {log}{_tail(log)}"
        hints = {
            signal.SIGKILL: (f"if memory ran out, lower {remedy}; "),
            signal.SIGILL: (
                "this CPU cannot run the bfloat16 kernels that it advertises: use float32 for dtype"
                " and precision; "
            ),
        }
        return RunFailed(
            message,
            f"{hints.get(signal.Signals(-returncode), '')}run the same command again to continue",
        )
    how = f"exit code {returncode}" if returncode else "without a result"
    return RunFailed(
        f"stage {stage!r} crashed ({how}); log: {log}{_tail(log)}",
        "read the log; run the same command again to continue",
    )


def missing_folder(folder: Path) -> RunFailed:
    """The error for a folder of the run that was moved, removed or replaced."""
    return RunFailed(
        f"{folder}: does not exist any more, or another folder has taken its place: was it moved,"
        " or its disk unmounted?",
        "restore it and run the same command again; remove anything written in its place",
    )


def _tail(log: Path, lines: int = 15) -> str:
    """The last lines of the log, indented."""
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - 20_000))
        text = handle.read().decode("utf-8", errors="replace")
    return "".join(f"\n  | {line}" for line in text.rstrip().splitlines()[-lines:])
