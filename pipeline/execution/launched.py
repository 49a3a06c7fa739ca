"""The processes of a stage that a launcher starts, such as torchrun or srun, possibly on several
machines.

They reach the runner over a socket, and end when it closes. The launcher dies with the runner:
`python -m pipeline.execution.launched PID COMMAND...` asks the kernel for that and becomes the
command."""

import hmac
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import BadInput
from pipeline.execution.channel import ADDRESS, STOP, TOKEN, keep_alive
from pipeline.execution.local import LOOPBACK, reserved_port, worker_command
from pipeline.execution.logs import LOG, log_of
from pipeline.execution.place import TORCHRUN
from pipeline.execution.ranks import Message, Processes, Rank, end_session, readable
from pipeline.execution.worker import die_with

HELLO_BYTES = 4096
"""Most that a connection may send before it has shown the token."""
HELLO_SECONDS = 10.0
WAITING = 64
"""Most connections that have not yet shown the token."""
EXIT_SECONDS = 5.0
"""The time that processes have to end after their connection was closed."""


class LaunchedProcesses(Processes):
    """`count` processes that `launcher` starts, one per connection that shows the token."""

    def __init__(
        self, attempt: Path, launcher: Sequence[str], count: int, environment: Mapping[str, str]
    ) -> None:
        if shutil.which(launcher[0]) is None:
            raise BadInput(
                f"devices.launcher: {launcher[0]!r} is no command on this machine",
                "install it, or name another launcher",
            )
        self.count, self.ranks, self._folder = count, [], attempt.parent
        self._links: dict[Rank, socket.socket] = {}
        self._hellos: dict[socket.socket, float] = {}
        """Connections that have not yet shown the token, and since when."""
        self._stopping, self._launcher_ended = False, 0.0
        self._token, self._port = secrets.token_hex(32), reserved_port()
        self._listener = socket.create_server(("", 0), backlog=WAITING)
        self._listener.setblocking(False)
        self.launcher_log = attempt.parent / LOG
        shim = [sys.executable, "-P", "-m", "pipeline.execution.launched", str(os.getpid())]
        with self.launcher_log.open("ab") as output:
            self._launcher = subprocess.Popen(
                [*shim, *launcher, *worker_command(attempt)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(environment),
                start_new_session=True,
            )

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What the launcher passes on: how to reach the runner, and a place where the processes can
        meet if it names none."""
        host = own_name()
        meeting = {"MASTER_ADDR": host, "MASTER_PORT": str(self._port.getsockname()[1])}
        kept = {name: value for name, value in environment.items() if name not in TORCHRUN}
        address = f"{host}:{self._listener.getsockname()[1]}"
        return {**meeting, **kept, ADDRESS: address, TOKEN: self._token}

    @property
    def several(self) -> bool:
        return True  # the launcher is another process

    @property
    def ended(self) -> bool:
        # A process that ended at once may have told its error over a connection not yet heard.
        heard = not self._hellos and all(rank.ended for rank in self.ranks)
        return self.launcher_code is not None and heard

    def failed_since(self) -> float | None:
        own = super().failed_since()
        unexpected = self.launcher_code is not None and not self.finished
        return self._launcher_ended if own is None and unexpected else own

    def receive(self, wait: float) -> Iterator[tuple[Rank, Message]]:
        if self.launcher_code is None:
            self.launcher_code = self._launcher.poll()
            if self.launcher_code is not None:
                self._launcher_ended = time.monotonic()
        self._greet()
        for rank in readable([rank for rank in self.ranks if not rank.closed], wait):
            for message in rank.receive():
                yield rank, message
            if rank.closed:
                rank.end(None)

    def _greet(self) -> None:
        """Accept new connections, and read from those that have not yet shown the token."""
        for handle in select.select([self._listener, *self._hellos], [], [], 0)[0]:
            if handle is self._listener:
                with suppress(OSError):  # it has closed again
                    link, _ = self._listener.accept()
                    link.setblocking(False)
                    keep_alive(link)
                    self._hellos[link] = time.monotonic()
            else:
                self._hear(handle)
        for number, (link, since) in enumerate(list(self._hellos.items())):
            if time.monotonic() - since > HELLO_SECONDS or number >= WAITING:
                self._refuse(link)

    def _hear(self, link: socket.socket) -> None:
        """Read the first line of a connection, which must show the token."""
        try:
            seen = link.recv(HELLO_BYTES, socket.MSG_PEEK)
            line, newline, _ = seen.partition(b"\n")
            if newline:
                link.recv(len(line) + 1)
                hello = json.loads(line)
                known = hmac.compare_digest(str(hello["token"]).encode(), self._token.encode())
            elif seen and len(seen) < HELLO_BYTES:
                return
        except (OSError, ValueError, TypeError, KeyError):
            newline = b""
        if newline and known:
            self._admit(link, int(hello["rank"]))
        else:
            self._refuse(link)

    def _admit(self, link: socket.socket, number: int) -> None:
        """Take a process in. A second one with the same number is an error of the launcher."""
        del self._hellos[link]
        rank = Rank(number, link.fileno(), log_of(self._folder, number))
        if number in [other.number for other in self.ranks if number >= 0]:
            rank.last = {
                "type": "error",
                "kind": BadInput.__name__,
                "message": f"devices.launcher: it starts two processes with number {number}",
                "remedy": "let it start each process once",
            }
            rank.decided = time.monotonic()
        self.ranks.append(rank)
        self._links[rank] = link
        if self._stopping:
            self._send_stop(link)

    def _refuse(self, link: socket.socket) -> None:
        del self._hellos[link]
        link.close()

    def terminate(self) -> None:
        self._stopping = True
        for link in self._links.values():
            self._send_stop(link)

    def _send_stop(self, link: socket.socket) -> None:
        with suppress(OSError):  # it has just ended
            link.send(STOP)

    def kill(self) -> None:
        for link in (*self._links.values(), *self._hellos):
            with suppress(OSError):
                link.shutdown(socket.SHUT_WR)  # which it takes as its end
        end_session(self._launcher)

    def close(self) -> None:
        self._launcher.wait()
        self._listener.close()
        end = time.monotonic() + EXIT_SECONDS
        while (left := [rank for rank in self.ranks if not rank.closed]) and time.monotonic() < end:
            for rank in readable(left, 0.1):
                rank.receive()
        for link in (*self._links.values(), *self._hellos, self._port):
            link.close()


def own_name() -> str:
    """The name of this machine if it leads to it, as on a cluster; otherwise the loopback."""
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return LOOPBACK
    return socket.gethostname()


def become(runner: int, command: Sequence[str]) -> None:
    """Turn this process into the launcher, which dies with the runner."""
    die_with(runner)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
