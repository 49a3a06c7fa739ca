"""Servers of a stage's own: started, watched, started again and ended by it.

A server has its port reserved by a socket that is bound and does not listen, so a server that is
started again gets the same one and no other program takes it. It belongs to a session of its own,
ends with this process however that ends (`lifetime.py`), and writes to a log file of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from common.devices import ServerPlace
from common.errors import RunFailed
from common.starter import Starter
from rollouts.served import ABOUT, PRIVATE, SECRET, STARTER
from rollouts.served.client import ServerClient, ServerGone

ROOT = Path(__file__).parents[2]
START_SECONDS = 600.0
"""Longest start of a server. A large model is read from disk in this time."""
TAIL = 2000
"""Characters of a server's log in an error."""
HOST = "127.0.0.1"
LAST_SECONDS = 2.0
"""Time in which what a server started ends after it."""
STARTS = 3
"""Times that a server is started before it counts as one that cannot be."""
WRONG_OPTIONS = 2
"""Exit code of a server whose options are wrong, which another start would not mend."""


@dataclass
class OwnServer:
    """One server of this process."""

    name: str
    command: Sequence[str]
    """Options of `python -m rollouts.served`, without the port."""
    secret: str
    place: ServerPlace
    log: Path
    starter: Starter
    limit: float
    """Seconds without a sign after which it is given up."""
    child: "subprocess.Popen[bytes] | None" = None
    reserved: socket.socket = field(default_factory=socket.socket)

    def __post_init__(self) -> None:
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind((HOST, 0))
        self.port: int = self.reserved.getsockname()[1]
        self.client = ServerClient(f"http://{HOST}:{self.port}", self.secret, self.name, self.limit)

    @property
    def private(self) -> Path:
        """The folder of the server's temporary files."""
        return self.log.with_suffix(".tmp").absolute()

    def start(self) -> None:
        """Start the process; `wait` says when it answers."""
        self.private.mkdir(mode=0o700, exist_ok=True)
        environment = {
            **os.environ,
            SECRET: self.secret,
            STARTER: str(os.getpid()),
            PRIVATE: str(self.private),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *_paths()]),
            "OMP_NUM_THREADS": str(self.place.threads),
        }
        # What torchrun and the engine in process set is about other processes.
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
            environment.pop(name, None)
        words = [sys.executable, "-P", "-m", "rollouts.served", *self.command]
        cores = ",".join(map(str, self.place.cores))
        if self.place.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.place.gpus
        with self.log.open("ab") as output:
            self.child = self.starter.start(
                args=[*words, "--host", HOST, "--port", str(self.port), "--cores", cores],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers. Raises ServerGone where it ends before, and RunFailed
        where its options are wrong or it takes too long, with the end of its log."""
        assert self.child is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if (code := self.child.poll()) is not None:
                ended = f"it ended while it started, with code {code}"
                if code == WRONG_OPTIONS:
                    raise RunFailed(f"{self.name}: {ended}; {self.log_end()}", "read the log")
                raise ServerGone(f"{ended}; {self.log_end()}")
            try:
                self.client.ask(ABOUT)
                return
            except ServerGone:  # it does not listen yet
                time.sleep(0.2)
        raise RunFailed(
            f"{self.name} did not answer {START_SECONDS:.0f} s after its start; {self.log_end()}",
            "read the log",
        )

    def recover(self) -> None:
        """End what is left of the process, start it again and wait until it answers. Raises what
        `wait` raises."""
        self.end()
        self.start()
        self.wait()

    def end(self) -> None:
        """End the process and all that it started, at once: there is nothing that it would save.

        Its helper that removes named semaphores from shared memory ends by itself, once the others
        are gone, and only then has removed them."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self._end_session()
        shutil.rmtree(self.private, ignore_errors=True)

    def _end_session(self) -> None:
        assert self.child is not None
        until = time.monotonic() + LAST_SECONDS
        with suppress(ProcessLookupError):  # nobody is left
            while time.monotonic() < until:
                os.killpg(self.child.pid, 0)
                time.sleep(0.02)
            os.killpg(self.child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and give its port back."""
        self.end()
        self.reserved.close()

    def log_end(self) -> str:
        """Where the server's log is, and how it ends."""
        return f"the end of {self.log}:\n{self.log.read_text(errors='replace')[-TAIL:].strip()}"


def _paths() -> list[str]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(path) for path in given if path]


def start_all(servers: Sequence[OwnServer], note: Callable[[str], None]) -> None:
    """Start all servers at the same time and wait until all answer. One that ends meanwhile, as it
    was killed, is started again; if one cannot be started, all are ended."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            _wait_patiently(server, note)
    except BaseException:
        for server in servers:
            server.close()
        raise


def _wait_patiently(server: OwnServer, note: Callable[[str], None]) -> None:
    for _ in range(STARTS - 1):
        try:
            server.wait()
            return
        except ServerGone as gone:
            note(f"{server.name}: {str(gone).splitlines()[0]} and is started again")
            server.end()
            server.start()
    try:
        server.wait()
    except ServerGone as gone:
        raise RunFailed(
            f"{server.name} was started {STARTS} times: {gone}", "read the log"
        ) from None
