"""Turns the failure of a stage's process into an error with a remedy."""

import signal
from pathlib import Path

from common.errors import BadInput, GateStopped, Interrupted, RunFailed, UphillError
from pipeline.execution.ending import Ending
from pipeline.execution.logs import end_of

ERRORS: dict[str, type[UphillError]] = {
    kind.__name__: kind for kind in (BadInput, RunFailed, GateStopped, Interrupted)
}
AGAIN = "run the same command again to continue"


def failure(stage: str, remedy: str, ending: Ending, stopping: bool) -> UphillError:
    """The error of a stage that did not finish: the message of the process that is the cause if it
    sent one, otherwise how it ended, with the last lines of its log. `remedy` names the settings to
    lower when memory runs out."""
    last, code = ending.last, ending.returncode
    name = f"stage {stage!r}" + (f": {ending.rank}" if ending.rank else "")
    log = f"log: {ending.log}{end_of(ending.log)}"
    if last.get("type") == "error":
        return ERRORS.get(last["kind"], RunFailed)(f"{name}: {last['message']}", last["remedy"])
    if last.get("type") == "stalled":
        heard = f" ({last['heard']})" if last.get("heard") else ""
        return RunFailed(
            f"{name} made no progress for runtime.stall_minutes{heard} and was terminated; {log}",
            f"read the log; raise runtime.stall_minutes if the stage only needs longer; {AGAIN}",
        )
    if last.get("type") == "crashed":
        return _crashed(name, "an exception" if code is None else f"exit code {code}", last, log)
    if stopping and (code is None or code < 0):
        return Interrupted(
            f"stage {stage!r} was stopped",
            "run the same command again to continue from its last checkpoint",
        )
    if last.get("type") == "launcher":
        return _of_launcher(name, code, log)
    memory = f"if memory ran out, lower {remedy}; "
    if code is None:
        return RunFailed(f"{name} was killed, or crashed without a word; {log}", f"{memory}{AGAIN}")
    if code < 0:
        return _killed(name, code, memory, log)
    return _crashed(name, f"exit code {code}" if code else "without a result", last, log)


def _killed(name: str, code: int, memory: str, log: str) -> RunFailed:
    number = signal.Signals(-code)
    hints = {
        signal.SIGKILL: memory,
        signal.SIGILL: (
            "this CPU cannot run the bfloat16 kernels that it advertises: use float32 for dtype and"
            " precision; "
        ),
    }
    return RunFailed(
        f"{name} was killed by {number.name} ({-code}); {log}", f"{hints.get(number, '')}{AGAIN}"
    )


def _crashed(name: str, how: str, last: dict[str, object], log: str) -> RunFailed:
    if last.get("lost_peer"):
        return RunFailed(
            f"{name} lost its connection to the other processes ({how}), none of which failed"
            f" before; {log}",
            f"look at the network, and at the logs of the other processes; {AGAIN}",
        )
    return RunFailed(f"{name} crashed ({how}); {log}", f"read the log; {AGAIN}")


def _of_launcher(name: str, code: int | None, log: str) -> RunFailed:
    """The error of a stage whose launcher ended before the processes did."""
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name} ({-code})"
    else:
        how = f"ended with exit code {code}, and none of its processes said why"
    return RunFailed(f"{name}: its devices.launcher {how}; {log}", f"read the log; {AGAIN}")


def missing_folder(folder: Path) -> RunFailed:
    """The error for a folder of the run that was moved, removed or replaced."""
    return RunFailed(
        f"{folder}: does not exist any more, or another folder has taken its place: was it moved,"
        " or its disk unmounted?",
        "restore it and run the same command again; remove anything written in its place",
    )
