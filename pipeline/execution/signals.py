"""What SIGINT, SIGTERM and the budget do to a running stage."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

SECONDS_TO_SAVE = 300.0
"""Default of `--grace`: the time that a stage has to save its state when it is asked to stop."""


class Stoppable(Protocol):
    """The processes of a stage."""

    def terminate(self) -> None:
        """Ask them to save their state and stop."""

    def kill(self) -> None:
        """End them and all processes that they started, at once."""


@dataclass
class Signals:
    """Handles SIGINT and SIGTERM. The first signal asks the stage to save its state and stop; it is
    killed `grace` seconds later, or at a second signal.

    `limit` is polled and requests a stop in the same way when it returns a reason."""

    grace: float = SECONDS_TO_SAVE
    limit: Callable[[], str | None] = lambda: None
    requested: bool = False
    reason: str | None = None
    """The reason that `limit` returned, if it requested the stop."""
    child: Stoppable | None = None
    """The processes of the running stage."""
    announce: Callable[[], None] = lambda: None
    _since: float = 0.0
    _before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if self.child is None:
                raise KeyboardInterrupt
            self.child.kill()
        else:
            self._request()

    def _request(self) -> None:
        self.requested, self._since = True, time.monotonic()
        self.announce()
        if self.child is not None:
            self.child.terminate()

    def poll(self) -> None:
        """Request a stop if the limit is reached; kill the child if its time to save is over."""
        if not self.requested:
            self.reason = self.limit()
            if self.reason:
                self._request()
        elif self.child is not None and time.monotonic() - self._since > self.grace:
            self.child.kill()

    def watch(self, child: Stoppable | None) -> None:
        """Send signals to `child`, the processes of a stage, from now on; None for none."""
        self.child = child
        if child is not None and self.requested:
            child.terminate()
