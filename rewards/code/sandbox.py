"""A sandbox for one program: bubblewrap around a Python that runs its tests.

Inside there are no network, no environment, no processes of others and no files but Python, the
system's libraries (both read-only) and a scratch folder of limited size."""

import os
import platform
import select
import shutil
import subprocess
import time
from typing import Any

from common.errors import BadInput
from rewards.code import seccomp
from rewards.code.command import Limits, command_line, modules
from rewards.code.inside.wire import message
from rewards.code.outcomes import Ran
from rewards.code.usage import memory_of

INSTALL = "install bubblewrap: apt-get install bubblewrap (or dnf, pacman, zypper), as root"
START = 30.0
"""Seconds that a sandbox may take to start, on a busy machine."""
LATE = 10.0
"""Seconds after its limit when a test is stopped from outside."""
END = 5.0
"""Seconds that a sandbox may take to end before it is killed."""
LOOK = 0.1
"""Seconds between looks at the memory of all of a sandbox's processes."""


class SandboxBroken(RuntimeError):
    """The sandbox itself does not work, or died."""


class Sandbox:
    """One running sandbox. `run` does one test; SandboxBroken if it does not work."""

    def __init__(self, kind: str, program: str, limits: Limits) -> None:
        """`kind`: `script`, whose tests are texts for standard input, or `functions`, whose tests
        are messages for `inside.tester`."""
        self.limits = limits
        command, uid = command_line(limits)
        self._process = _started(command)
        order = {
            **{"kind": kind, "program": program, "uid": uid, "wall": limits.wall},
            **{name: getattr(limits, name) for name in Limits.__dataclass_fields__},
        }
        self._end = time.monotonic() + START
        try:
            self._send(message((modules(), order)))
            if self._line() != b"ready":
                raise SandboxBroken(self._errors())
        except _Stopped as stopped:
            self.close()
            raise SandboxBroken(f"it did not start: {stopped}") from stopped
        except BaseException:
            self.close()
            raise

    def run(self, test: Any) -> Ran:
        """Run one test. Where it had to be stopped from outside, the sandbox is closed."""
        self._end = time.monotonic() + self.limits.wall + LATE
        try:
            self._send(message(test))
            words = self._line().decode(errors="replace").split(" ")
            if len(words) != 5:
                raise SandboxBroken(self._errors())
            passed, total, output, text = map(int, words[1:])
            rest = self._exactly(output + text)
        except _Stopped as stopped:
            self.close()
            return Ran(str(stopped))
        return Ran(words[0], passed, total, rest[:output], rest[output:].decode(errors="replace"))

    @property
    def closed(self) -> bool:
        """Whether it can run no more tests."""
        return self._process.returncode is not None

    def close(self) -> None:
        """End it whole. Without its standard input the first process ends, and all others with
        it."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._process.stdin.close()
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        fd, left = self._process.stdin.fileno(), memoryview(data)
        try:
            while left:
                self._wait(fd, select.POLLOUT)
                left = left[os.write(fd, left[: select.PIPE_BUF]) :]
        except BrokenPipeError as error:
            raise SandboxBroken(self._errors()) from error

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += self._exactly(1)
        return line[:-1]

    def _exactly(self, count: int) -> bytes:
        """That many bytes from inside."""
        assert self._process.stdout is not None
        fd, data = self._process.stdout.fileno(), bytearray()
        while len(data) < count:
            self._wait(fd, select.POLLIN)
            part = os.read(fd, count - len(data))
            if not part:
                raise SandboxBroken(self._errors())
            data += part
        return bytes(data)

    def _wait(self, fd: int, event: int) -> None:
        """Until a pipe can be read or written. Looks at time and memory meanwhile."""
        poller = select.poll()  # `select` takes no file descriptor above 1023
        poller.register(fd, event)
        while not poller.poll(1000 * LOOK):
            self._look()

    def _look(self) -> None:
        if time.monotonic() > self._end:
            raise _Stopped("timeout")
        if memory_of(self._process.pid) > self.limits.memory:
            raise _Stopped("memory")

    def _errors(self) -> str:
        """What bubblewrap or the first process said before it ended."""
        assert self._process.stderr is not None
        text = os.read(self._process.stderr.fileno(), 1 << 14).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else "it ended without a word"


class _Stopped(Exception):
    """The test is stopped from outside; the text is its outcome."""


def _started(command: list[str]) -> "subprocess.Popen[bytes]":
    """bubblewrap, with the filter of system calls."""
    filter_read, filter_write = os.pipe()
    with os.fdopen(filter_write, "wb") as out:
        out.write(seccomp.program())
    try:
        return subprocess.Popen(
            [*command[:1], "--seccomp", str(filter_read), *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[filter_read],
            bufsize=0,
            env={},
        )
    except OSError as error:
        raise SandboxBroken(f"{command[0]}: {error}") from error
    finally:
        os.close(filter_read)


def require_sandbox() -> None:
    """Raise BadInput, with the remedy, where no sandbox can be started."""
    if platform.machine() != "x86_64":
        raise BadInput(
            f"the verifier `code` runs on x86-64, and this is {platform.machine()}",
            "grade code on an x86-64 machine",
        )
    if shutil.which("bwrap") is None:
        raise BadInput("the verifier `code` needs bubblewrap: there is no command `bwrap`", INSTALL)
    trial = Limits(5.0, 1 << 29, 4, 1 << 16, 1 << 20)
    try:
        sandbox = Sandbox("script", "print(input())", trial)
        try:
            ran = sandbox.run(b"works")
        finally:
            sandbox.close()
        if ran.output != b"works\n":
            raise SandboxBroken(ran.text or ran.outcome)
    except SandboxBroken as error:
        raise BadInput(
            f"bubblewrap cannot make a sandbox here: {error}",
            "allow user namespaces (docs/code.md, section Install, says how), or run as root",
        ) from error
