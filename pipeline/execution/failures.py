"""How a stage's process ended badly, as an error that a person can act on."""

import signal
from pathlib import Path
from typing import Any

from common.errors import BadInput, GateStopped, Interrupted, RunFailed, UphillError

KINDS: dict[str, type[UphillError]] = {
    kind.__name__: kind for kind in (BadInput, RunFailed, GateStopped, Interrupted)
}


def failure(
    stage: str, remedy: str, returncode: int, last: dict[str, Any], log: Path, stopping: bool
) -> UphillError:
    """The error for a worker that did not finish: its own words where it had any, else its end and
    its last lines. `remedy` is
    what to lower when memory runs out."""
    if last.get("type") == "error":
        return KINDS.get(last["kind"], RunFailed)(
            f"stage {stage!r}: {last['message']}", last["remedy"]
        )
    if last.get("type") == "stalled":
        return RunFailed(
            f"stage {stage!r} made no progress for runtime.stall_minutes and was ended; log:"
            f" {log}{_tail(log)}",
            "read the log; raise runtime.stall_minutes if it only needs longer; the same command"
            " goes on",
        )
    if stopping and returncode < 0:
        return Interrupted(
            f"stage {stage!r} was stopped", "the same command goes on from its last checkpoint"
        )
    if returncode < 0:
        name = signal.Signals(-returncode).name
        message = f"stage {stage!r} was killed by {name} ({-returncode}); log: {log}{_tail(log)}"
        hints = {
            signal.SIGKILL: (f"if memory ran out, lower {remedy}; "),
            signal.SIGILL: (
                "this CPU cannot run the bfloat16 kernels that it announces: use float32 for dtype"
                " and precision; "
            ),
        }
        return RunFailed(
            message, f"{hints.get(signal.Signals(-returncode), '')}the same command goes on"
        )
    how = f"exit code {returncode}" if returncode else "without a result"
    return RunFailed(
        f"stage {stage!r} crashed ({how}); log: {log}{_tail(log)}",
        "read the log; the same command goes on from there",
    )


def vanished(folder: Path) -> RunFailed:
    """The error for a folder of the run that is not where it was."""
    return RunFailed(
        f"{folder}: is not there any more, or another folder is in its place: was it moved, or its"
        " disk unmounted?",
        "bring it back, and the same command goes on; remove what may have been written in its"
        " place",
    )


def _tail(log: Path, lines: int = 15) -> str:
    """The last lines of the log, indented."""
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - 20_000))
        text = handle.read().decode("utf-8", errors="replace")
    return "".join(f"\n  | {line}" for line in text.rstrip().splitlines()[-lines:])
