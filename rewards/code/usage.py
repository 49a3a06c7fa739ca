"""Memory of a sandbox's processes, seen from outside."""

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE") // 1024
"""KiB of a page."""
_PROC = Path("/proc")


def memory_of(pid: int) -> int:
    """Bytes of memory of a process and all below it; pages that several share count once in all.
    Processes that end meanwhile count nothing."""
    return 1024 * sum(_own(process) for process in _tree(pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for thread in _lines(_PROC / str(process) / "task"):
            found += [int(child) for child in _text(thread / "children").split()]
    return found


def _lines(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _own(pid: int) -> int:
    """In KiB. Only whoever may trace a process can read what it shares; for others each process
    counts its own memory in whole."""
    for line in _text(_PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    pages = _text(_PROC / str(pid) / "statm").split()  # size, resident, shared, ...
    return (int(pages[1]) - int(pages[2])) * PAGE if pages else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
