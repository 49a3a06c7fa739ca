"""Runs the processes of a stage: receives their messages, stops them on request, and always ends
all of them."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.devices import DevicesConfig
from pipeline.checkout import ROOT
from pipeline.execution.ending import Ending, ending_of
from pipeline.execution.forked import Fork
from pipeline.execution.gpus import VARIABLE, first_visible
from pipeline.execution.launched import LaunchedProcesses
from pipeline.execution.local import LocalProcesses
from pipeline.execution.logs import log_of
from pipeline.execution.ranks import Processes
from pipeline.execution.signals import Signals

MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
}
"""Makes glibc reuse the memory of freed CPU tensors of up to 4 GiB. Otherwise every large tensor
gets new pages from the kernel, whose first access is slow: a step of SFT takes a fifth longer."""
EXIT_SECONDS = 30
"""The time that a stage has to exit after it has delivered its result."""
PEER_SECONDS = 2.0
"""The time that the others have to say how they end after one process has failed: the first that
notices a failure is not always its cause."""
OnMessage = Callable[[Mapping[str, Any]], None]
"""Receives a stage's messages of type `progress` and `note`."""


def environment(devices: DevicesConfig) -> dict[str, str]:
    """The runner's environment with our checkout first on `PYTHONPATH`. A stage of one process
    sees one GPU; several processes and servers divide the GPUs themselves (`place.py`)."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    python = {"PYTHONPATH": os.pathsep.join([str(ROOT), *paths]), "PYTHONUNBUFFERED": "1"}
    gpu = {VARIABLE: first_visible(os.environ)} if devices.alone else {}
    return {**MALLOC_SETTINGS, **os.environ, **python, **gpu}


def run_process(
    attempt: Path,
    devices: DevicesConfig,
    signals: Signals,
    on_message: OnMessage,
    stall: float,
    folder_exists: Callable[[], bool],
    fork: Fork | None = None,
) -> Ending:
    """Run the worker on `attempt` in all its processes until they end; say how they did.

    Process 0 speaks for the stage: `on_message` gets its progress and notes, and if it sends
    nothing for `stall` seconds, all are ended (the last message has the type `stalled`). So are
    they when the folder is missing (`folder_missing`), and when one of them fails. `fork` starts a
    process that is alone; without it one is started anew."""
    variables = environment(devices)
    processes: Processes = (
        LaunchedProcesses(attempt, devices.launcher, devices.processes, variables)
        if devices.launcher
        else LocalProcesses(attempt, devices.processes, variables, fork)
    )
    signals.watch(processes)
    try:
        special = _listen(processes, signals, on_message, stall, folder_exists)
        if special is None:
            return ending_of(processes)
        return Ending(special, None, log_of(attempt.parent, 0))
    finally:
        processes.kill()
        processes.close()
        signals.watch(None)


def _listen(
    processes: Processes,
    signals: Signals,
    on_message: OnMessage,
    stall: float,
    folder_exists: Callable[[], bool],
) -> dict[str, Any] | None:
    """Pass messages on until all processes have ended or one has failed. A message if they stalled,
    or if their folder is missing."""
    begin = time.monotonic()
    while True:
        signals.poll()
        for rank, message in processes.receive(wait=0.2):
            if rank.number == 0:
                on_message(message)
        now = time.monotonic()
        if not folder_exists():
            return {"type": "folder_missing"}
        if processes.ended:
            return None
        failed = processes.failed_since()
        if processes.several and failed is not None and now - failed > PEER_SECONDS:
            return None
        if processes.finished and now - processes.decided_since() > EXIT_SECONDS:
            return None
        if now - max(begin, _last_sign(processes)) > stall:
            return {"type": "stalled", "heard": _heard(processes, now)}


def _last_sign(processes: Processes) -> float:
    """When the first process that still works was last heard of."""
    working = [rank for rank in processes.ranks if rank.decided is None]
    return (
        min(working, key=lambda rank: rank.number).heard if working else processes.decided_since()
    )


def _heard(processes: Processes, now: float) -> str:
    """When each of several processes was last heard of, in words."""
    if not processes.several:
        return ""
    ranks = sorted(processes.ranks, key=lambda rank: rank.number)
    return ", ".join(f"rank {rank.number} {now - rank.heard:.0f} s ago" for rank in ranks)
