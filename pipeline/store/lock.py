"""A lock that gives a run folder one owner. The kernel releases it when the owner dies."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.errors import BadInput
from common.files import same_file

LOCK = ".lock"


@dataclass(frozen=True)
class Owner:
    """The process that holds a run folder."""

    host: str
    pid: int
    since: str


@contextmanager
def owned(run: Path) -> Iterator[Callable[[], bool]]:
    """Lock `run` for the duration, creating it if needed. BadInput when another process holds it,
    or when it is not writable.

    Yields a function that returns whether the path still leads to the locked folder."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not os.access(run, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        handle = os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        message = f"{run}: cannot be written to: {error.strerror}"
        raise BadInput(message, "choose another place with --runs-dir") from None
    try:
        if not _locked(handle):
            owner = _read(handle)
            holder = (
                f"process {owner.pid} on {owner.host} (since {owner.since})"
                if owner
                else "another process"
            )
            raise BadInput(
                f"{run}: {holder} is running it", "wait for it, or stop it with Ctrl-C or SIGTERM"
            )
        me = Owner(
            socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        )
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(me)).encode(), 0)
        try:
            yield lambda: same_file(handle, run / LOCK)
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def owner_of(run: Path) -> Owner | None:
    """The process that is running `run` now; None if there is none."""
    try:
        handle = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _read(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Take the lock. Retries for a moment, because `owner_of` in another process may hold it."""
    for _ in range(5):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _read(handle: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):
        return None
