"""Recognises failures caused by the machine, such as a full disk or a lack of memory."""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from common.execution import COSTS_MEMORY

DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow any larger",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EIO: "the disk does not answer",
    errno.ESTALE: "the file system is no longer available",
    errno.ENODEV: "the file system is no longer available",
    errno.ENOTCONN: "the file system is no longer available",
}
"""Error number of a write to the message."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that more space solves."""
MESSAGES = {
    "disk is full": errno.ENOSPC,
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
    "disk i/o error": errno.EIO,
}
"""Messages of libraries that do not pass the number on (SQLite, safetensors, pyarrow)."""
WRITERS = ("PytorchStreamWriter", "iostream error", "unexpected pos")
"""Messages of torch when it cannot write; they do not state the reason."""
MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory",
          "No available memory for the cache blocks")  # fmt: skip
"""Messages of libraries that could not allocate memory."""
PEER_WORDS = ("connection closed by peer", "connection reset", "connection refused",
              "broken pipe", "socket closed", "remote server shutdown or crash",
              "waiting for send operation", "waiting for recv operation", "nccl communicator",
              "ncclremoteerror", "remote process exited", "watchdog caught collective")  # fmt: skip
"""Messages of gloo, NCCL and torch's store when another process of the stage is gone."""
PEER_ERRORS = ("DistNetworkError", "DistBackendError", "DistStoreError")
"""Types of such errors in torch, which this module does not import."""
FULL_BELOW = 1 << 20
"""A disk with fewer free bytes counts as full."""


def fault_of(error: BaseException, folder: Path, remedy: str) -> RunFailed | None:
    """The failure if the machine caused the error of a stage that works in `folder`; else None.
    `remedy` names the settings to lower when memory runs out (`what_to_lower`)."""
    for cause in _chain(error):
        text = str(cause)
        if isinstance(cause, MemoryError) or any(word.lower() in text.lower() for word in MEMORY):
            return out_of_memory(text or "MemoryError", remedy)
        number = cause.errno if isinstance(cause, OSError) else None
        number = number or next(
            (number for message, number in MESSAGES.items() if message in text.lower()), None
        )
        if number is None and any(word in text for word in WRITERS):
            number = errno.ENOSPC if _full(folder) else None
        if number in DISK:
            assert number is not None
            return disk_fault(number, getattr(cause, "filename", None) or folder)
    return None


def lost_peer(error: BaseException) -> bool:
    """Whether an error may only say that another process of the stage is gone."""
    return any(
        type(cause).__name__ in PEER_ERRORS or names_lost_peer(str(cause))
        for cause in _chain(error)
    )


def names_lost_peer(text: str) -> bool:
    """Whether a message or the end of a log says that another process is gone."""
    return any(word in text.lower() for word in PEER_WORDS)


def what_to_lower(stage: str, execution: Mapping[str, Any]) -> str:
    """The settings that cost a stage memory, as the recipe names them; `execution` holds those that
    it reads. They are not part of its identity, so it continues from its last checkpoint."""
    names = [name for name in COSTS_MEMORY if execution.get(name, 1) > 1]
    settings = [f"runtime.stages.{stage}.{name} (now {execution[name]})" for name in names]
    return " or ".join(settings) or "the size of the model or the lengths of its sequences"


def out_of_memory(text: str, remedy: str) -> RunFailed:
    """The error of a stage that ran out of memory. `text` is the library's message."""
    message = f"memory ran out: {text.splitlines()[0][:200]}"
    return RunFailed(message, f"lower {remedy}; run the same command again to continue")


def disk_fault(number: int, place: Path | str) -> RunFailed:
    """The error for a place that cannot be written to."""
    remedy = (
        "make room, or make it writable again; finished stages are intact; run the same command"
        " again to continue"
    )
    return RunFailed(f"{place}: {DISK.get(number, os.strerror(number))}", remedy)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _full(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return True
    return disk.f_bavail * disk.f_frsize < FULL_BELOW
