"""One process that calls a function for this one (`child.py`), and is killed where it takes too
long.

All waiting is one loop over its socket and its output, so neither a full pipe nor a process that
reads nothing can stop this one. Of its output a little is kept and the rest thrown away."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.starter import Starter
from rewards.workers.child import LENGTH, LONGEST_VALUE

CHILD = Path(__file__).with_name("child.py")
LOAD_SECONDS = 120.0
"""Longest time in which a program is loaded, which may import large libraries."""
KEPT = 2000
"""Bytes of the output of one call that are kept."""
LONGEST_REPLY = 10 * LONGEST_VALUE
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Program:
    """The text of a module, and the function in it that is called."""

    name: str
    """Its file's name, for tracebacks."""
    source: str
    function: str
    parameters: tuple[str, ...]
    """What the function is called with, by name; for messages and the check of its signature."""
    paths: tuple[str, ...] = ()
    """Folders from which it may import, besides what is installed."""


class LoadFailed(Exception):
    """The program cannot be loaded."""

    def __init__(self, reason: str, line: int | None = None, trace: str = "") -> None:
        super().__init__(reason)
        self.reason, self.line, self.trace = reason, line, trace


class TookTooLong(Exception):
    """There was no reply within the time limit."""


class Died(Exception):
    """The process ended instead of replying."""


class Worker:
    """The process. After TookTooLong or Died it must be killed."""

    def __init__(self, program: Program, starter: Starter) -> None:
        """Raises LoadFailed, with the process ended."""
        self.printed = b""
        """The beginning of what it printed during the last call."""
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._socket.setblocking(False)
        with theirs:
            self._process = starter.start(
                args=_command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join([*program.paths, *_given()])},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        try:
            self._load(program)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, message: Any, seconds: float) -> dict[str, Any]:
        """The reply to a message. Raises TookTooLong or Died."""
        body = json.dumps(message).encode()
        unsent = memoryview(len(body).to_bytes(LENGTH, "big") + body)
        got, printed, until = bytearray(), bytearray(), time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        try:
            while True:
                poll.register(self._socket, select.POLLIN | (select.POLLOUT if unsent else 0))
                left = until - time.monotonic()
                ready = dict(poll.poll(1000 * left)) if left > 0 else {}
                if not ready:
                    raise TookTooLong(f"no result after {seconds:g} s")
                if self._output in ready and not self._drain(printed):
                    poll.unregister(self._output)  # it closed its output
                if ready.get(self._socket.fileno(), 0) & select.POLLOUT:
                    unsent = unsent[self._send(unsent) :]
                elif self._socket.fileno() in ready:
                    got += self._receive()
                    if len(got) >= LENGTH and len(got) - LENGTH >= _length(got):
                        return dict(json.loads(bytes(got[LENGTH:])))
        finally:
            self._drain(printed)
            self.printed = bytes(printed)

    def kill(self) -> None:
        """End the process and all that it started in its session, at once."""
        with suppress(ProcessLookupError):
            # Before it is waited for: until then no other process can have its number.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _load(self, program: Program) -> None:
        fields = {"name": program.name, "source": program.source, "function": program.function}
        try:
            reply = self.ask({**fields, "parameters": program.parameters}, LOAD_SECONDS)
        except TookTooLong:
            raise LoadFailed(f"it is not loaded after {LOAD_SECONDS:g} s") from None
        except Died as error:
            raise LoadFailed(f"{error} while it was loaded", trace=self.output()) from None
        if "failed" in reply:
            raise LoadFailed(reply["failed"], reply["line"], reply["trace"])

    def output(self) -> str:
        """The beginning of what it printed during the last call, as text."""
        return self.printed.decode("utf-8", "replace")

    def _drain(self, printed: bytearray) -> bool:
        """Read what it printed, and keep the beginning; False at the end of its output."""
        try:
            part = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return True
        printed += part[: KEPT - len(printed)]
        return bool(part)

    def _send(self, unsent: memoryview) -> int:
        try:
            return self._socket.send(unsent)
        except BlockingIOError:
            return 0
        except OSError:
            raise Died(self._ending()) from None

    def _receive(self) -> bytes:
        try:
            part = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            part = b""
        if not part:
            raise Died(self._ending())
        return part

    def _ending(self) -> str:
        """How the process ended. Its socket is closed, so it ends now or is as good as ended."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            # It stays a zombie: until `kill`, its number cannot become another process's.
            how = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if how is not None and how.si_code == os.CLD_EXITED:
                return f"its process ended with exit code {how.si_status}"
            if how is not None:
                return f"its process ended with {signal.Signals(how.si_status).name}"
            time.sleep(0.01)
        return "its process closed the connection"


def _length(got: Sequence[int]) -> int:
    length = int.from_bytes(bytes(got[:LENGTH]), "big")
    if length > LONGEST_REPLY:
        raise Died(f"its process sent a reply of {length} bytes")
    return length


def _command(descriptor: int) -> list[str]:
    words = [sys.executable, "-P", "-X", "faulthandler", str(CHILD)]
    return [*words, str(descriptor), str(os.getpid())]


def _given() -> list[str]:
    """The user's own `PYTHONPATH`, absolute."""
    return [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
