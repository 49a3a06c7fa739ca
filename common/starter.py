"""Starts processes from one thread, for those that the kernel ends with the process that started
them.

The kernel's death signal follows the *thread* that started a process, and a caller's thread may end
early."""

import queue
import subprocess
import threading
from typing import Any


class Starter:
    """A thread that starts processes. It lives as long as this process, or until it is closed."""

    def __init__(self, name: str = "starter") -> None:
        self._asked: queue.SimpleQueue[tuple[dict[str, Any], queue.SimpleQueue[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def start(self, **arguments: Any) -> "subprocess.Popen[bytes]":
        """`subprocess.Popen(**arguments)`, and its errors."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked.put((arguments, answer))
        started = answer.get()
        if isinstance(started, BaseException):
            raise started
        return started

    def close(self) -> None:
        """End the thread. What it started, and asked the kernel for its death signal, is killed."""
        self._asked.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            arguments, answer = asked
            try:
                answer.put(subprocess.Popen(**arguments))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answer.put(error)
