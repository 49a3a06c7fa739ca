"""The first process in a sandbox. It runs each test in processes of its own, enforces the limits,
and kills whatever is left. No model code and no test runs in it.

As process 1 of its PID namespace it cannot be killed from inside, `kill(-1)` ends everything else,
and its own end ends the namespace."""

from __future__ import annotations

import os
import resource
import select
import time

from rewards.code.inside import program, tester
from rewards.code.inside.processes import KILL, Forked, become, cannot_fork, confine, kill_all
from rewards.code.inside.wire import receive, write

TYPE_CHECKING = False  # without importing `typing`, which takes 5 ms in each sandbox
if TYPE_CHECKING:
    from typing import Any, NoReturn

_signal: Any = __import__("_signal")  # the module `signal` around it takes 5 ms to import
ERRORS = 2000
"""Bytes of standard error that are kept."""
OWN = 2
"""Processes that are not the program's: this one and the tests'."""
ENDING = 0.5
"""Seconds for a program to end once its pipes are closed."""
XCPU = 24


def main(order: dict[str, Any]) -> NoReturn:
    """Run the tests that arrive on standard input, one at a time, until it is closed."""
    become(order["uid"])
    os.environ.clear()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    most = order["processes"] + OWN
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    write(1, b"ready\n")
    number = 0
    while True:
        number += 1
        _fresh_folder(number)
        try:
            data = receive(0) if order["kind"] == "script" else _readable(0)
        except EOFError:
            os._exit(0)
        report(*Run(order, data).result())


def report(outcome: str, passed: int, total: int, output: bytes, text: bytes) -> None:
    """Write a result: a line of words and lengths, then the output and the text."""
    line = f"{outcome} {passed} {total} {len(output)} {len(text)}\n"
    write(1, line.encode() + output + text)


def _fresh_folder(number: int) -> None:
    """Go to a folder of this test's own. An earlier test may have filled or spoilt the scratch
    space, which is then this program's loss."""
    place = f"{program.SCRATCH}/{number}-{os.urandom(6).hex()}"
    try:
        os.mkdir(place)
        os.chdir(place)
    except OSError:
        os.chdir("/")


def _readable(fd: int) -> bytes:
    select.select([fd], [], [])
    return b""


class Run:
    """One test: its processes, their pipes, and what came out."""

    def __init__(self, order: dict[str, Any], data: bytes) -> None:
        self.order = order
        self.output = bytearray()
        self.errors = bytearray()
        self.found: Any = None
        self.outcome = ""
        """Why it was stopped; empty: it ended by itself."""
        out, self._out = os.pipe()
        err, self._err = os.pipe()
        self.reads = {out: self.output, err: self.errors}
        self.verdict: int | None = None
        self.given, self.left = -1, memoryview(data)
        """Where standard input is written, and what is left of it."""
        self.program = self._script() if order["kind"] == "script" else self._functions()
        os.close(self._out)
        os.close(self._err)

    def result(self) -> tuple[str, int, int, bytes, bytes]:
        """Wait for the test's end; outcome, tests passed, tests, output, error text."""
        self._watch()
        if self.outcome == "timeout" and cannot_fork():
            self.outcome = "processes"
        if not self.outcome and (self.found is None or self.found[2] == "ended"):
            self._await_end()
        ended = self._ended()
        kill_all()
        if self.verdict is not None:
            os.close(self.verdict)
        if self.given >= 0:
            os.close(self.given)
        for fd in self.reads:
            self._drain(fd)
            os.close(fd)
        text = bytes(self.errors[-ERRORS:])
        if self.order["kind"] == "script":
            return self.outcome or ended, 0, 1, bytes(self.output), text
        if self.outcome or self.found is None:
            # Without a verdict nothing has passed, however the program ended.
            stopped = self.outcome or ("crash" if ended == "passed" else ended)
            return stopped, 0, 1, b"", text
        passed, total, outcome, said = self.found
        if outcome == "ended" and ended != "passed":
            outcome = ended
        return outcome or "passed", passed, total, b"", said.encode(errors="replace")

    def _script(self) -> int:
        given, self.given = os.pipe()
        os.set_blocking(self.given, False)
        child = os.fork()
        if not child:
            with Forked():
                confine(self.order, [given, self._out, self._err])
                program.run_script(self.order["program"])
        os.close(given)
        return child

    def _functions(self) -> int:
        """The tests' process first: it has read the tests when the program begins, which is never
        in a process that holds them."""
        self.verdict, verdict = os.pipe()
        asked, ask = os.pipe()
        replies, reply = os.pipe()
        if not os.fork():
            with Forked():
                confine(self.order, [0, self._out, self._err, verdict, replies, ask])
                tester.run(3, 4, 5)
        os.close(verdict)
        if not os.read(self.verdict, 1):
            write(2, b"the tests cannot be read within the limits on memory and time\n")
            os._exit(1)
        child = os.fork()
        if not child:
            with Forked():
                nothing = os.open("/dev/null", os.O_RDONLY)
                confine(self.order, [nothing, self._out, self._err, asked, reply])
                program.serve(self.order["program"], 3, 4)
        for fd in (asked, ask, replies, reply):
            os.close(fd)
        return child

    def _watch(self) -> None:
        """Serve the pipes until the test has its result, or a limit is exceeded. A script's result
        is its end; that of functions is the verdict of the tests' process."""
        end = time.monotonic() + self.order["wall"]
        poller = select.poll()
        gone = os.pidfd_open(self.program) if self.verdict is None else self.verdict
        for fd in (*self.reads, gone):
            poller.register(fd, select.POLLIN)
        if self.given >= 0:
            poller.register(self.given, select.POLLOUT)
        poller.register(0, 0)  # hangs up when whoever started the sandbox is gone
        done = False
        while not (done or self.outcome):
            left = end - time.monotonic()
            if left <= 0:
                self.outcome = "timeout"
            for fd, event in poller.poll(max(0.0, left) * 1000):
                if fd == 0:
                    os._exit(0)
                if fd == gone:
                    done = True
                elif not self._served(fd, event):
                    poller.unregister(fd)
        if self.verdict is None:
            os.close(gone)
        elif done:
            self._take_verdict(self.verdict)

    def _take_verdict(self, fd: int) -> None:
        try:
            self.found = receive(fd)
        except EOFError:  # the tests' process is dead
            self.found = None

    def _served(self, fd: int, event: int) -> bool:
        """Move what can be moved through a pipe; whether there may be more."""
        if fd == self.given:
            return self._fed(fd)
        data = os.read(fd, 1 << 16) if event & select.POLLIN else b""
        self.reads[fd] += data
        if len(self.reads[fd]) > self.order["output"]:
            self.outcome = "output"
        return bool(data)

    def _fed(self, fd: int) -> bool:
        try:
            self.left = self.left[os.write(fd, self.left[: 1 << 16]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self.left = self.left[:0]
        if not self.left:
            os.close(fd)
            self.given = -1
        return bool(self.left)

    def _drain(self, fd: int) -> None:
        """What is still in a pipe whose writers are dead."""
        while len(self.reads[fd]) <= self.order["output"]:
            data = os.read(fd, 1 << 16)
            if not data:
                return
            self.reads[fd] += data
        self.outcome = self.outcome or "output"

    def _await_end(self) -> None:
        """Its pipes are closed a little before its end is known; a program may also close them."""
        gone = os.pidfd_open(self.program)
        select.select([gone], [], [], ENDING)
        os.close(gone)

    def _ended(self) -> str:
        """The outcome of a program that ended by itself; `crash` also where it was stopped."""
        child, status, used = os.wait4(self.program, os.WNOHANG)
        if not child:
            return "crash"
        if os.WIFEXITED(status):
            known = {exit_code: outcome for outcome, exit_code in program.EXITS.items()}
            code = os.WEXITSTATUS(status)
            return "passed" if code == 0 else known.get(code, "error")
        late = used.ru_utime + used.ru_stime >= 0.9 * self.order["seconds"]
        return "timeout" if os.WTERMSIG(status) in (KILL, XCPU) and late else "crash"
