"""A time limit for verifiers that may not end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TimeLimit(BaseException):
    """The time limit was exceeded. Not an Exception, so that a verifier's own `except Exception`
    does not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimit in the body after `seconds`. In the main thread only: Python delivers signals
    to no other, and `signal.signal` raises ValueError there."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeLimit(f"no result after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
