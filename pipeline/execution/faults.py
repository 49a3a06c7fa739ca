"""What the machine did to a stage, told apart from a mistake of ours: no disk, no memory."""

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
    errno.ESTALE: "the file system is gone",
    errno.ENODEV: "the file system is gone",
    errno.ENOTCONN: "the file system is gone",
}
"""What the system says of a place where a stage writes, by error number."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Those that more room mends."""
SAID = {
    "disk is full": errno.ENOSPC,
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
    "disk i/o error": errno.EIO,
}
"""The same in the words of libraries that lose the number (SQLite, safetensors, pyarrow)."""
WRITERS = ("PytorchStreamWriter", "iostream error", "unexpected pos")
"""torch says no more than this when it cannot write."""
MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory",
          "No available memory for the cache blocks")  # fmt: skip
SPARE = 1 << 20
"""A disk with fewer bytes left than this is full."""


def fault_of(error: BaseException, folder: Path, remedy: str) -> RunFailed | None:
    """What happened to a stage that works in `folder`, if it was the machine's doing; else None.
    `remedy` is what to lower when memory runs out (`what_to_lower`)."""
    for one in _chain(error):
        text = str(one)
        if isinstance(one, MemoryError) or any(word.lower() in text.lower() for word in MEMORY):
            return out_of_memory(text or "MemoryError", remedy)
        number = one.errno if isinstance(one, OSError) else None
        number = number or next(
            (number for words, number in SAID.items() if words in text.lower()), None
        )
        if number is None and any(word in text for word in WRITERS):
            number = errno.ENOSPC if _full(folder) else None
        if number in DISK:
            assert number is not None
            return disk_fault(number, getattr(one, "filename", None) or folder)
    return None


def what_to_lower(stage: str, execution: Mapping[str, Any]) -> str:
    """The settings that cost a stage memory, as the recipe names them; `execution` are those that
    it reads. They are no part of its identity, so that it goes on from its last checkpoint."""
    names = [name for name in COSTS_MEMORY if execution.get(name, 1) > 1]
    settings = [f"runtime.stages.{stage}.{name} (now {execution[name]})" for name in names]
    return " or ".join(settings) or "the size of the model or the lengths of its sequences"


def out_of_memory(said: str, remedy: str) -> RunFailed:
    """The error for a stage whose memory ran out."""
    message = f"memory ran out: {said.splitlines()[0][:200]}"
    return RunFailed(message, f"lower {remedy}; the same command goes on")


def disk_fault(number: int, place: Path | str) -> RunFailed:
    """The error for a place that cannot be written to."""
    remedy = (
        "make room, or make it writable again; finished stages are intact and the same command"
        " goes on"
    )
    return RunFailed(f"{place}: {DISK.get(number, os.strerror(number))}", remedy)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _full(folder: Path) -> bool:
    try:
        state = os.statvfs(folder)
    except OSError:
        return True
    return state.f_bavail * state.f_frsize < SPARE
