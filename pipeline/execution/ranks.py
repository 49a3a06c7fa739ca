"""The processes of a stage as the runner sees them: what they sent, and how they ended."""

import json
import os
import select
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from common.errors import Interrupted

Message = dict[str, Any]


class Rank:
    """One process of a stage. `handle` is where its messages arrive."""

    def __init__(self, number: int, handle: int, log: Path) -> None:
        os.set_blocking(handle, False)
        self.number, self.handle, self.log = number, handle, log
        self.heard = time.monotonic()
        """When it last sent anything."""
        self.last: Message = {}
        """Its last message that is neither progress nor a note."""
        self.decided: float | None = None
        """When it sent its result or error, or ended without."""
        self.ended = False
        self.returncode: int | None = None
        """Its exit code once it has ended; None if a launcher started it."""
        self.closed = False
        self._rest = b""

    @property
    def finished(self) -> bool:
        return self.last.get("type") == "finished"

    @property
    def interrupted(self) -> bool:
        return self.last.get("kind") == Interrupted.__name__

    @property
    def failed(self) -> bool:
        """Whether the others need not go on because of it."""
        return self.decided is not None and not self.finished and not self.interrupted

    def receive(self) -> list[Message]:
        """The progress and the notes that have arrived."""
        try:
            data = os.read(self.handle, 1 << 16)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return []
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if message["type"] not in ("progress", "note"):
                self.last, self.decided = message, self.heard
        return [message for message in messages if message["type"] in ("progress", "note")]

    def end(self, returncode: int | None) -> None:
        """The process is gone, and all its messages are read."""
        self.ended, self.returncode = True, returncode
        self.decided = self.decided or time.monotonic()


class Processes(ABC):
    """All processes of a stage."""

    count: int
    """How many there are to be."""
    ranks: list[Rank]
    """Those that have started."""
    launcher_code: int | None = None
    """Exit code of the launcher, if there is one and it has ended."""
    launcher_log: Path
    """Where the launcher prints."""

    @property
    def several(self) -> bool:
        """Whether there is more than one process to end and to name."""
        return self.count > 1

    @property
    def finished(self) -> bool:
        """Whether all have delivered their results."""
        return sum(rank.finished for rank in self.ranks) == self.count

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether none runs any more, and all messages are read."""

    def failed_since(self) -> float | None:
        """When the first process failed; None if none has."""
        return min((r.decided for r in self.ranks if r.failed and r.decided), default=None)

    def decided_since(self) -> float:
        """When the last process sent its result or error."""
        return max((rank.decided or 0.0 for rank in self.ranks), default=0.0)

    @abstractmethod
    def receive(self, wait: float) -> Iterator[tuple[Rank, Message]]:
        """Progress and notes that arrive within about `wait` seconds."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask all of them to save their state and stop."""

    @abstractmethod
    def kill(self) -> None:
        """End all of them and what they started, at once."""

    @abstractmethod
    def close(self) -> None:
        """Wait until all are gone."""


class Child(Protocol):
    """A process of a stage: `subprocess.Popen`, or a fork."""

    pid: int
    returncode: Any

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def wait(self) -> int:
        """Its exit code, once it has ended."""

    def terminate(self) -> None:
        """Send it SIGTERM."""


def end_session(child: Child) -> None:
    """Kill a child and all processes that it started, if these stayed in its session."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def readable(ranks: Sequence[Rank], wait: float) -> list[Rank]:
    """Those of the ranks that have sent something, after waiting up to `wait` seconds."""
    if not ranks:
        time.sleep(min(wait, 0.02))  # all have closed their pipes and are about to exit
        return []
    ready = select.select([rank.handle for rank in ranks], [], [], wait)[0]
    return [rank for rank in ranks if rank.handle in ready]
