"""Processes in a sandbox: whose they are, what they may use, and their end."""

from __future__ import annotations

import fcntl
import os
import resource

TYPE_CHECKING = False  # without importing `typing`, which takes 5 ms in each sandbox
if TYPE_CHECKING:
    from typing import Any

HIGH = 64
"""File descriptors from here on are free."""
FILES = 64
"""File descriptors that a program may have open."""
KILL = 9


def become(uid: int | None) -> None:
    """Take another user's identity, as limits on processes do not hold for root."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def confine(order: dict[str, Any], kept: list[int]) -> None:
    """In a new process: these files alone, as 0, 1, 2 and so on, and the limits."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for fd in kept]
    for place, fd in enumerate(high):
        os.dup2(fd, place)
    os.closerange(len(high), 1 << 16)
    seconds = int(-(-order["seconds"] // 1))
    for limit, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, order["memory"]),
        (resource.RLIMIT_FSIZE, order["scratch"]),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (most, most))


class Forked:
    """What a new process does: it ends here, and never goes on as a second first process."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        os._exit(1)


def cannot_fork() -> bool:
    """Whether the limit on processes is reached."""
    try:
        child = os.fork()
    except OSError:
        return True
    if not child:
        os._exit(0)
    return False


def kill_all() -> None:
    """Kill every process of the namespace but this one, and collect them."""
    try:
        os.kill(-1, KILL)
    except ProcessLookupError:
        return
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return
