"""The process that forks the processes of stages: `python -m pipeline.execution.nursery HANDLE`.

torch, transformers and vLLM take about eight seconds of a core to import. This process imports them
once, and every stage is a fork of it. It does nothing else: it has no model, no engine and no state
of a generator, so a stage runs in a fork as it runs in a process of its own.

The runner (`forked.py`) asks over a socket, one JSON object a packet, and gets one for each:
`{"start": ATTEMPT, "modules": [...], "threads": N}` with the stage's pipe and log, answered by the
process's number; `{"poll": NUMBER}`, answered by its exit code, or null while it runs. A process
that ended is not reaped before the runner asks, so its number is not given to another one. When the
runner is gone, this process ends, and the kernel ends its forks with it."""

import importlib
import json
import os
import socket
import sys
from collections.abc import Iterable

from pipeline.execution import worker
from pipeline.execution.channel import CHANNEL

PACKET = 1 << 16
HANDLES = 2
"""A stage's pipe and its log."""


def main(handle: int, runner: int) -> int:
    """Serve the runner until it is gone. In a fork: the stage's exit code."""
    worker.die_with(runner)
    link = socket.socket(fileno=handle)
    nothing = os.open(os.devnull, os.O_WRONLY)
    while True:
        packet, handles, _, _ = socket.recv_fds(link, PACKET, HANDLES)
        if not packet:
            return 0
        request = json.loads(packet)
        if "poll" in request:
            reply: int | None = _exit_code(request["poll"])
        else:
            _print_to(handles[1])
            _import(request["modules"], request["threads"])
            this, (settled, end) = os.getpid(), os.pipe()
            reply = os.fork()
            if not reply:
                for one in (link.detach(), nothing, settled):
                    os.close(one)
                _settle(handles[0], handles[1], end)
                return worker.main(request["start"], parent=this)
            for one in (*handles, end):
                os.close(one)
            os.read(settled, 1)  # it has a session by which it can be killed
            os.close(settled)
            _print_to(nothing)
        link.send(json.dumps(reply).encode())


def _import(modules: Iterable[str], threads: int) -> None:
    """Import what a stage will need. What cannot be imported fails in the stage, which says so."""
    worker.set_environment(threads)
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            return


def _print_to(log: int) -> None:
    """Print to a stage's log while it is the stage's; a finished stage's files do not change."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())


def _settle(channel: int, log: int, end: int) -> None:
    """Give a new process a session, and say so by closing `end`, and the pipe to the runner."""
    os.setsid()
    os.close(end)
    os.close(log)
    os.environ[CHANNEL] = str(channel)


def _exit_code(number: int) -> int | None:
    """A fork's exit code, the negative number of the signal that ended it, or None if it runs."""
    found, status = os.waitpid(number, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
