"""Processes that call the same function, several at once. One that takes too long or ends is
replaced by the next call."""

import queue
from dataclasses import dataclass
from typing import Any

from common.starter import Starter
from rewards.workers.worker import Died, LoadFailed, Program, TookTooLong, Worker


@dataclass(frozen=True)
class Outcome:
    """What came of one call."""

    value: Any = None
    """What the function returned, as plain JSON; meaningless where something went wrong."""
    wrong: str | None = None
    """`timeout`, `crash` or `unfit` (a value that is no plain JSON); None where it returned."""
    detail: str = ""
    """What went wrong: a traceback, how the process ended, or the value."""
    printed: str = ""
    """The beginning of what the function printed."""


class Pool:
    """Up to `size` processes, each started when it is first needed."""

    def __init__(self, program: Program, size: int) -> None:
        self._program, self._size = program, size
        self._starter, self._closed = Starter("worker-starter"), False
        self._slots: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    def open(self) -> None:
        """Start the first process. Raises LoadFailed where the program cannot be loaded."""
        self._slots.get()
        worker = None
        try:
            worker = Worker(self._program, self._starter)
        finally:
            self._slots.put(worker)

    def call(self, arguments: list[Any], seconds: float) -> Outcome:
        """Call the function; from any thread. Waits for a free process first. Raises RuntimeError
        once the pool is closed."""
        worker = self._slots.get()
        try:
            if self._closed:
                raise RuntimeError("the processes are ended")
            worker = worker or Worker(self._program, self._starter)
            reply = worker.ask(arguments, seconds)
            return _outcome(reply, worker.output())
        except LoadFailed as error:
            return Outcome(wrong="crash", detail=error.trace or error.reason)
        except BaseException as error:  # also an interrupt: its reply would be the next call's
            printed, worker = _killed(worker), None
            if not isinstance(error, (TookTooLong, Died)):
                raise
            wrong = "timeout" if isinstance(error, TookTooLong) else "crash"
            return Outcome(wrong=wrong, detail=str(error), printed=printed)
        finally:
            self._slots.put(worker)

    def close(self) -> None:
        """End every process; waits for calls in flight."""
        self._closed = True
        for worker in [self._slots.get() for _ in range(self._size)]:
            _killed(worker)
            self._slots.put(None)  # whoever waits for one finds the pool closed
        self._starter.close()


def _killed(worker: Worker | None) -> str:
    """End a process; what it printed during its last call."""
    if worker is None:
        return ""
    worker.kill()
    return worker.output()


def _outcome(reply: dict[str, Any], printed: str) -> Outcome:
    if "value" in reply:
        return Outcome(reply["value"], printed=printed)
    if "unfit" in reply:
        return Outcome(wrong="unfit", detail=reply["unfit"], printed=printed)
    return Outcome(wrong="crash", detail=reply["raised"], printed=printed)
