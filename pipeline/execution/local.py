"""Starts the processes of a stage on this machine, and ends them together.

Each has a session, a log and a pipe of its own, and torchrun's variables if there are several. A
single one has none of these variables."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pipeline.execution.channel import CHANNEL
from pipeline.execution.forked import Fork
from pipeline.execution.logs import log_of
from pipeline.execution.ranks import Child, Message, Processes, Rank, end_session, readable

LOOPBACK = "127.0.0.1"


def worker_command(attempt: Path) -> list[str]:
    """The command of one process. -P keeps the current folder, which may contain packages of the
    same names, off sys.path."""
    return [sys.executable, "-P", "-m", "pipeline.execution.worker", str(attempt)]


class LocalProcesses(Processes):
    """Processes that the runner itself starts on this machine, a single one by `fork` if given."""

    def __init__(
        self, attempt: Path, count: int, environment: Mapping[str, str], fork: Fork | None = None
    ) -> None:
        self.count, self.ranks, self._fork = count, [], fork
        self._children: list[Child] = []
        self._port = reserved_port() if count > 1 else None
        try:
            for number in range(count):
                self._start(number, attempt, {**environment, **self._variables(number)})
        except BaseException:
            self.kill()
            self.close()
            raise

    def _variables(self, number: int) -> dict[str, str]:
        """Torchrun's variables of one of several processes."""
        if self._port is None:
            return {}
        return {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": LOOPBACK,
            "MASTER_PORT": str(self._port.getsockname()[1]),
        }

    def _start(self, number: int, attempt: Path, environment: Mapping[str, str]) -> None:
        reader, writer = os.pipe()
        log = log_of(attempt.parent, number)
        self.ranks.append(Rank(number, reader, log))
        try:
            with log.open("ab") as output:
                child = (
                    self._fork(attempt, environment, writer, output)
                    if self._fork
                    else _process(attempt, environment, writer, output)
                )
        finally:
            os.close(writer)
        self._children.append(child)

    @property
    def ended(self) -> bool:
        return all(rank.ended for rank in self.ranks)

    def receive(self, wait: float) -> Iterator[tuple[Rank, Message]]:
        pairs = zip(self.ranks, self._children, strict=True)
        gone = [(r, child) for r, child in pairs if not r.ended and child.poll() is not None]
        ready = readable([rank for rank in self.ranks if not rank.closed], 0.0 if gone else wait)
        for rank in ready:
            for message in rank.receive():
                yield rank, message
        for rank, child in gone:
            if rank not in ready:
                rank.end(child.returncode)

    def terminate(self) -> None:
        for child in self._children:
            child.terminate()

    def kill(self) -> None:
        for child in self._children:
            end_session(child)

    def close(self) -> None:
        for child in self._children:
            child.wait()
        for rank in self.ranks:
            os.close(rank.handle)
        if self._port is not None:
            self._port.close()


def _process(
    attempt: Path, environment: Mapping[str, str], writer: int, output: BinaryIO
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        worker_command(attempt),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**environment, CHANNEL: str(writer)},
        pass_fds=(writer,),
        start_new_session=True,
    )


def reserved_port() -> socket.socket:
    """A free port for the processes to meet at. The open socket keeps others from being given it;
    one that asks for it by number may listen on it."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, 0))
    return holder
