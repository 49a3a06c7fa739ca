"""The process of one tracker: `python -m pipeline.tracking.sender NAME FOLDER PROJECT`.

The runner sends JSON lines, `{"do": "begin" or "finish", "stage": ..., "folder": ..., "partial":
...}`, and does not wait. This process answers with lines of its own: `ready`, `unusable` (message
and remedy), `note`. What the tracker's library prints goes to a log. When the runner is gone, the
rest is sent, within a time."""

import fcntl
import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from pipeline.tracking.interface import Unusable
from pipeline.tracking.registry import open_tracker
from pipeline.tracking.reports import Reports

EVERY = 0.5
"""Seconds between two looks at a stage's log."""
FINISH_SECONDS = 30
"""The time for the rest once the runner is gone."""
NOTES = 3
"""Warnings of the library that are told; the log has all."""
Messages = queue.SimpleQueue[dict[str, Any] | None]
"""None: there are no more."""
Say = Callable[..., None]


def main(name: str, folder: Path, project: str) -> int:
    """Serve the runner; the exit code."""
    say, messages = _answers(), Messages()
    threading.Thread(target=_receive, args=(sys.stdin, messages), daemon=True).start()
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tracker of a killed runner may be at its end still
        try:
            tracker = open_tracker(name, folder)
            tracker.check()
        except Unusable as error:
            say(unusable=error.message, remedy=error.remedy)
            return 1
        _tell_warnings_of(name, say)
        say(ready=True)
        serve(Reports(tracker, folder, name, project), messages)
    return 0


def serve(reports: Reports, messages: Messages) -> None:
    """Do what the messages say, and follow the present stage in between."""
    while True:
        try:
            message = messages.get(timeout=EVERY)
        except queue.Empty:
            reports.follow()
            continue
        if message is None:
            reports.leave()
            return
        act = reports.begin if message["do"] == "begin" else reports.finish
        act(message["stage"], Path(message["folder"]), Path(message["partial"]))


def _answers() -> Say:
    """Writes to the runner. From now on, prints go to the log."""
    runner = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=runner, flush=True)

    return say


def _receive(lines: Iterable[str], messages: Messages) -> None:
    """Pass messages on, in a thread: this process ends in time even where the tracker hangs."""
    for line in lines:
        messages.put(json.loads(line))
    signal.alarm(FINISH_SECONDS)
    messages.put(None)


def _tell_warnings_of(name: str, say: Say) -> None:
    """Tell the runner what the tracker's library warns of, such as a server that does not answer:
    some report failures in no other way."""
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(f"{filename}: {category.__name__}: {message}", flush=True)
        text = " ".join(str(message).split())
        if category is UserWarning and f"/{name}/" in filename and len(told | {text}) <= NOTES:
            if text not in told:
                say(note=text)
            told.add(text)

    warnings.showwarning = show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
