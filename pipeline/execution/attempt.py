"""One attempt at a node: its working folder, what its process is told, and how its output becomes
final."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.files import write_json
from pipeline.execution.state import partial_of, read_small
from pipeline.planning.plan import Node
from pipeline.store.lock import LOCK
from pipeline.store.record import (
    ATTEMPT,
    FAILURE,
    RECORD,
    SCRATCH,
    read_record,
    sync_folder,
    write_record,
)

LOG = "stage.log"
REPLACED = "replaced"
"""Folder in a run for what was made anew since: one earlier version a stage."""


@dataclass(frozen=True)
class Attempt:
    """A node that is about to run in `partial`, to end up in `folder`."""

    node: Node
    folder: Path
    inputs: Mapping[str, Path]
    """Input name to the finished folder it is read from."""
    made_from: Mapping[str, Mapping[str, str]]
    """Input name to what identifies the execution that made it."""
    settings: Mapping[str, Any]
    """`threads`, `divergence` and `stall_minutes`: how the process runs, not what it computes."""
    started: datetime
    """When this attempt began."""
    first_started: str = ""
    """When the first attempt began, in ISO form."""
    attempts: int = 1
    seconds_before: float = 0.0
    """How long earlier attempts ran."""
    seconds_checking: float = 0.0
    """How long it took to check the inputs against their records."""

    @property
    def partial(self) -> Path:
        return partial_of(self.folder)

    def seconds(self) -> float:
        """How long all attempts ran up to now."""
        return self.seconds_before + (datetime.now(UTC) - self.started).total_seconds()


def recover(attempt: Attempt) -> bool:
    """Finish what a runner did that was killed between writing the record and renaming the
    folder."""
    record = read_record(attempt.partial)
    if (
        record is None
        or record["fingerprint"] != attempt.node.fingerprint
        or record["inputs"] != attempt.made_from
    ):
        return False
    seal(attempt)
    return True


def prepare(attempt: Attempt) -> tuple[Attempt, str]:
    """Make the working folder ready; returns the attempt with its history, and what to tell the
    person about it.

    What an earlier attempt left is kept if it was at the very same thing, and removed otherwise.
    """
    previous, notice = read_small(attempt.partial / ATTEMPT), ""
    if (
        previous
        and previous["fingerprint"] == attempt.node.fingerprint
        and previous["made_from"] == attempt.made_from
    ):
        before = earlier_seconds(attempt.partial)
        attempt = replace(
            attempt,
            attempts=previous["attempts"] + 1,
            seconds_before=before,
            first_started=previous["first"],
        )
        notice = f"goes on from attempt {previous['attempts']}"
    elif attempt.partial.exists() and (kept := set_aside(attempt.partial)):
        notice = (
            f"begins anew: what an earlier attempt left ({kept}) was made under other settings or"
            " from other inputs"
        )
    attempt.partial.parent.mkdir(exist_ok=True)  # `evals`
    attempt.partial.mkdir(exist_ok=True)
    _remove_outputs(attempt.partial)
    (attempt.partial / FAILURE).unlink(missing_ok=True)
    attempt = replace(
        attempt,
        first_started=attempt.first_started or attempt.started.isoformat(timespec="seconds"),
    )
    note(attempt, ended=False)
    return attempt, notice


def note(attempt: Attempt, ended: bool) -> None:
    """Write `attempt.json`: what the worker runs, and whose working folder this is."""
    write_json(
        attempt.partial / ATTEMPT,
        {
            "id": attempt.node.id,
            "kind": attempt.node.kind,
            "module": attempt.node.module,
            "config_type": attempt.node.config_type,
            "config": attempt.node.config,
            "seed": attempt.node.seed,
            "settings": attempt.settings,
            "execution": attempt.node.execution,
            "inputs": {name: str(path.absolute()) for name, path in attempt.inputs.items()},
            "folder": str(attempt.partial.absolute()),
            "runner": os.getpid(),
            "fingerprint": attempt.node.fingerprint,
            "made_from": attempt.made_from,
            "first": attempt.first_started,
            "attempts": attempt.attempts,
            "seconds_before": attempt.seconds() if ended else attempt.seconds_before,
            "started": None if ended else attempt.started.timestamp(),
        },
    )


def earlier_seconds(partial: Path) -> float:
    """How long the attempts ran that left an unfinished folder; 0 where there is none."""
    previous = read_small(partial / ATTEMPT)
    return previous["seconds_before"] + _lost_seconds(partial, previous) if previous else 0.0


def _lost_seconds(partial: Path, previous: Mapping[str, Any]) -> float:
    """How long an attempt ran whose runner was killed: up to the last word in its log."""
    log = partial / LOG
    if previous["started"] is None or not log.exists():
        return 0.0
    return max(0.0, log.stat().st_mtime - previous["started"])


def _remove_outputs(partial: Path) -> None:
    """Leave of an earlier attempt what a stage goes on from: `resume/` and its logs. Outputs are
    made anew.

    A killed library leaves temporary files under names of its own, which must not become outputs.
    """
    for path in partial.iterdir():
        if path.name in (SCRATCH, LOG, LOCK, ATTEMPT) or path.suffix == ".jsonl":
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def set_aside(partial: Path) -> str:
    """Empty an unfinished folder; one with checkpoints moves to `replaced/`. Says what was done, or
    "" for nothing."""
    if not any(partial.glob(f"{SCRATCH}/checkpoint-*")):
        return "removed" if empty(partial) else ""
    target = partial.parent / REPLACED / partial.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    return f"moved to {target}"


def empty(folder: Path) -> bool:
    """Remove everything in `folder` but its lock; True if there was anything."""
    found = [path for path in folder.iterdir() if path.name != LOCK]
    for path in found:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return bool(found)


def finish(attempt: Attempt, outputs: Mapping[str, Any]) -> None:
    """Record the outputs of a worker that ended well, and give the folder its final name."""
    finished = datetime.now(UTC)
    write_record(
        attempt.partial,
        {
            "id": attempt.node.id,
            "kind": attempt.node.kind,
            "produces": attempt.node.produces,
            "execution": attempt.node.execution,
            "config": outputs["config"],
            "fingerprint": attempt.node.fingerprint,
            "identity": attempt.node.identity,
            "inputs": attempt.made_from,
            "seed": attempt.node.seed,
            "started": attempt.first_started,
            "finished": finished.isoformat(timespec="seconds"),
            "seconds": round(attempt.seconds(), 3),
            "seconds_checking": attempt.seconds_checking,
            "attempts": attempt.attempts,
            "peak_memory_mib": outputs["peak_memory_mib"],
            "tokens_generated": outputs["tokens_generated"],
            "tokens_trained": outputs["tokens_trained"],
            "metrics": outputs["metrics"],
        },
    )
    seal(attempt)


def seal(attempt: Attempt) -> None:
    """Remove what is no output and rename the folder. Safe to repeat after a crash anywhere in
    it."""
    shutil.rmtree(attempt.partial / SCRATCH, ignore_errors=True)
    for name in (ATTEMPT, FAILURE, LOCK):
        (attempt.partial / name).unlink(missing_ok=True)
    assert (attempt.partial / RECORD).is_file()
    attempt.partial.rename(attempt.folder)
    sync_folder(attempt.folder.parent)
