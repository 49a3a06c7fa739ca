"""Starts a stage's process, receives its messages, stops it on request, and always terminates it in
the end."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.checkout import ROOT
from pipeline.execution.gpus import VARIABLE, first_visible
from pipeline.execution.worker import CHANNEL

MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
}
"""Makes glibc reuse the memory of freed CPU tensors of up to 4 GiB. Otherwise every large tensor
gets new pages from the kernel, whose first access is slow: a step of SFT takes a fifth longer."""
SECONDS_TO_SAVE = 300.0
"""Default of `--grace`: the time that a stage has to save its state when it is asked to stop."""
EXIT_SECONDS = 30
"""The time that a stage has to exit after it has delivered its result."""
OnMessage = Callable[[Mapping[str, Any]], None]
"""Receives a stage's messages of type `progress` and `note`."""


@dataclass
class Signals:
    """Handles SIGINT and SIGTERM. The first signal asks the stage to save its state and stop; it is
    killed `grace` seconds later, or at a second signal.

    `limit` is polled and requests a stop in the same way when it returns a reason."""

    grace: float = SECONDS_TO_SAVE
    limit: Callable[[], str | None] = lambda: None
    requested: bool = False
    reason: str | None = None
    """The reason that `limit` returned, if it requested the stop."""
    child: subprocess.Popen[bytes] | None = None
    announce: Callable[[], None] = lambda: None
    _since: float = 0.0
    _before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if self.child is None:
                raise KeyboardInterrupt
            end_group(self.child)
        else:
            self._request()

    def _request(self) -> None:
        self.requested, self._since = True, time.monotonic()
        self.announce()
        if self.child is not None:
            self.child.terminate()

    def poll(self) -> None:
        """Request a stop if the limit is reached; kill the child if its time to save is over."""
        if not self.requested:
            self.reason = self.limit()
            if self.reason:
                self._request()
        elif self.child is not None and time.monotonic() - self._since > self.grace:
            end_group(self.child)

    def watch(self, child: subprocess.Popen[bytes] | None) -> None:
        """Send signals to `child` from now on; None for no process."""
        self.child = child
        if child is not None and self.requested:
            child.terminate()


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and all processes that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def environment() -> dict[str, str]:
    """The runner's environment with one visible GPU and our checkout first on `PYTHONPATH`."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    python = {"PYTHONPATH": os.pathsep.join([str(ROOT), *paths]), "PYTHONUNBUFFERED": "1"}
    return {**MALLOC_SETTINGS, **os.environ, **python, VARIABLE: first_visible(os.environ)}


def run_process(
    attempt: Path,
    log: Path,
    signals: Signals,
    on_message: OnMessage,
    stall: float,
    folder_exists: Callable[[], bool],
) -> tuple[int, dict[str, Any]]:
    """Run the worker on `attempt` until it ends; return its exit code and its last message.

    The last message has the type `finished` or `error`, or is empty. A worker that sends nothing
    for `stall` seconds is terminated; the result is then of type `stalled`. So is one whose folder
    is missing, with the type `folder_missing`. `on_message` gets all other messages. Output goes to
    `log`."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    # -P keeps the current folder, which may contain packages of the same names, off sys.path.
    command = [sys.executable, "-P", "-m", "pipeline.execution.worker", str(attempt)]
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment(), CHANNEL: str(writer)},
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    signals.watch(child)
    try:
        last = _listen(child, reader, signals, on_message, stall, folder_exists)
    finally:
        end_group(child)
        child.wait()
        signals.watch(None)
        os.close(reader)
    return child.returncode, last


def _listen(
    child: subprocess.Popen[bytes],
    reader: int,
    signals: Signals,
    on_message: OnMessage,
    stall: float,
    folder_exists: Callable[[], bool],
) -> dict[str, Any]:
    """Read messages until the child has ended or stalled, or its folder is missing; return the last
    message, or {}."""
    rest, last, delivered, last_data = b"", dict[str, Any](), 0.0, time.monotonic()
    while True:
        signals.poll()
        ended = child.poll() is not None
        data = _read(reader, wait=0.0 if ended else 0.2)
        last_data = time.monotonic() if data else last_data
        if not folder_exists():
            return {"type": "folder_missing"}
        if time.monotonic() - last_data > stall and not ended:
            return {"type": "stalled"}
        *lines, rest = (rest + data).split(b"\n")
        for message in map(json.loads, lines):
            if message["type"] in ("progress", "note"):
                on_message(message)
            else:
                last, delivered = message, time.monotonic()
        if ended and not data:
            return last
        if last.get("type") == "finished" and time.monotonic() - delivered > EXIT_SECONDS:
            return last


def _read(reader: int, wait: float) -> bytes:
    """Data from the pipe, after waiting up to `wait` seconds; empty if there is none or at the
    end."""
    ready, _, _ = select.select([reader], [], [], wait)
    if not ready:
        return b""
    data = os.read(reader, 1 << 16)
    if not data and wait:
        time.sleep(0.01)  # the child has closed the pipe and is about to exit
    return data
