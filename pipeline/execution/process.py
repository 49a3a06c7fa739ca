"""A stage's process as the runner sees it: started, listened to, asked to stop, and always gone in
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

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 * 2**30), "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30)}
"""Has glibc keep what tensors on a CPU give back, up to 4 GiB each, for the next ones. Otherwise
every large tensor is fresh memory from the kernel, whose first touch costs more than many a
computation: a step of SFT a fifth more time."""
SECONDS_TO_SAVE = 300.0
"""How long a stage that is asked to stop may take to save its state, unless `--grace` says
otherwise."""
GRACE_SECONDS = 30
"""How long a stage that has delivered its result may take to leave."""


@dataclass
class Signals:
    """SIGINT and SIGTERM: the first asks the stage to save and stop, the second ends everything at
    once.

    So does the first alone once `grace` seconds have passed. `limit` asks for a stop as a signal
    does when it gives a reason for one."""

    grace: float = SECONDS_TO_SAVE
    limit: Callable[[], str | None] = lambda: None
    requested: bool = False
    reason: str | None = None
    """What `limit` said, where that is why a stop was asked for."""
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
        """Ask for a stop where the limit is reached; end the child where its time to save is
        over."""
        if not self.requested:
            self.reason = self.limit()
            if self.reason:
                self._request()
        elif self.child is not None and time.monotonic() - self._since > self.grace:
            end_group(self.child)

    def watch(self, child: subprocess.Popen[bytes] | None) -> None:
        """The process that signals go to from now on."""
        self.child = child
        if child is not None and self.requested:
            child.terminate()


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def environment() -> dict[str, str]:
    """The runner's environment, with one GPU, and our own checkout first among the places that
    Python imports from."""
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    ours = {"PYTHONPATH": os.pathsep.join([str(ROOT), *others]), "PYTHONUNBUFFERED": "1"}
    return {**KEEP_MEMORY, **os.environ, **ours, VARIABLE: first_visible(os.environ)}


def run_process(
    attempt: Path,
    log: Path,
    signals: Signals,
    tell: Callable[[Mapping[str, Any]], None],
    stall: float,
    there: Callable[[], bool],
) -> tuple[int, dict[str, Any]]:
    """Run the worker on `attempt` until it is gone; its return code and its last word (`finished`,
    `error` or nothing).

    One that says nothing for `stall` seconds is ended: `stalled` is its last word then. So is one
    whose folder is no longer `there`: `vanished`. `tell` gets every message on the way (`progress`,
    `note`); output goes to `log`."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    # -P keeps the current folder, which may hold packages of the same names, out of the imports.
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
        last = _listen(child, reader, signals, tell, stall, there)
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
    tell: Callable[[Mapping[str, Any]], None],
    stall: float,
    there: Callable[[], bool],
) -> dict[str, Any]:
    """Read messages until the child has ended, stalled or lost its folder; its last word, or {}."""
    rest, last, delivered, heard = b"", dict[str, Any](), 0.0, time.monotonic()
    while True:
        signals.poll()
        ended = child.poll() is not None
        data = _read(reader, wait=0.0 if ended else 0.2)
        heard = time.monotonic() if data else heard
        if not there():
            return {"type": "vanished"}
        if time.monotonic() - heard > stall and not ended:
            return {"type": "stalled"}
        *lines, rest = (rest + data).split(b"\n")
        for message in map(json.loads, lines):
            if message["type"] in ("progress", "note"):
                tell(message)
            else:
                last, delivered = message, time.monotonic()
        if ended and not data:
            return last
        if last.get("type") == "finished" and time.monotonic() - delivered > GRACE_SECONDS:
            return last


def _read(reader: int, wait: float) -> bytes:
    """What is in the pipe, after waiting for something up to `wait` seconds; empty for nothing or
    its end."""
    ready, _, _ = select.select([reader], [], [], wait)
    if not ready:
        return b""
    data = os.read(reader, 1 << 16)
    if not data and wait:
        time.sleep(0.01)  # the child closed the pipe and is on its way out
    return data
