"""How the processes of a stage ended, and which of them is the cause when one failed.

When a process dies, the others lose their connection to it and fail as well. The cause is the one
that was killed, else the one with an error of its own; among equals the first."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.execution.faults import names_lost_peer
from pipeline.execution.logs import end_of
from pipeline.execution.ranks import Processes, Rank

BY_RANK = "peak_memory_mib_by_rank"
"""Peak memory of each of several processes, in the result and in the record."""
KILLED, OWN_ERROR, STOPPED, LOST_PEER = range(4)
"""Kinds of ends; the cause of a failure is the process with the lowest."""


@dataclass(frozen=True)
class Ending:
    """How a stage's processes ended."""

    last: dict[str, Any]
    """The message that says so: of type `finished`, `error`, `crashed`, `stalled`,
    `folder_missing` or `launcher`; {} if a process ended without one."""
    returncode: int | None
    """Exit code of the process that is the cause; None if unknown."""
    log: Path
    """Its log."""
    rank: str = ""
    """Its name, such as `rank 1 of 2`; empty for a single process."""


def ending_of(processes: Processes) -> Ending:
    """How they ended: well if all have delivered their results."""
    if processes.finished:
        return _finished(processes)
    decided = [rank for rank in processes.ranks if rank.decided is not None and not rank.finished]
    if processes.launcher_code is not None and _is_launchers(processes, decided):
        return Ending({"type": "launcher"}, processes.launcher_code, processes.launcher_log)
    cause = min(decided, key=lambda rank: (_kind(rank), rank.decided))
    return Ending(cause.last, cause.returncode, cause.log, _name(cause, processes))


def _finished(processes: Processes) -> Ending:
    """The result of process 0, with the largest memory of all."""
    ranks = sorted(processes.ranks, key=lambda rank: rank.number)
    peaks = [rank.last["peak_memory_mib"] for rank in ranks]
    result = {**ranks[0].last, "peak_memory_mib": max(peaks)}
    if len(ranks) > 1:
        result[BY_RANK] = peaks
    return Ending(result, ranks[0].returncode, ranks[0].log)


def _is_launchers(processes: Processes, decided: list[Rank]) -> bool:
    """Whether the launcher is the cause: it was killed, or no process says anything."""
    if not decided:
        return True
    silent = all(_kind(rank) in (KILLED, LOST_PEER) for rank in decided)
    return (processes.launcher_code or 0) < 0 and silent


def _kind(rank: Rank) -> int:
    """The kind of end of a process that did not finish."""
    if rank.interrupted:
        return STOPPED
    if rank.last:
        return LOST_PEER if rank.last.get("lost_peer") else OWN_ERROR
    # NCCL's watchdog aborts the process; nothing is raised.
    aborted = rank.returncode == -signal.SIGABRT
    if rank.returncode is not None and (rank.returncode >= 0 or aborted):
        own = KILLED if aborted else OWN_ERROR
        return LOST_PEER if names_lost_peer(end_of(rank.log)) else own
    return KILLED


def _name(cause: Rank, processes: Processes) -> str:
    """`rank 1 of 2`; empty for a single process, for one without a number, and for an error that
    all of them report."""
    said = [rank.last.get("message") for rank in processes.ranks]
    same = len(said) == processes.count and len(set(said)) == 1 and said[0] is not None
    if not processes.several or same or cause.number < 0:
        return ""
    return f"rank {cause.number} of {processes.count}"
