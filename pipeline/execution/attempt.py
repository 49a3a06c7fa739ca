"""One attempt to run a node: prepares its working folder, and turns it into the finished folder."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.files import write_json
from pipeline.execution.ending import BY_RANK
from pipeline.execution.logs import LOG, is_log
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

REPLACED = "replaced"
"""Folder in a run for replaced output: one earlier version per stage."""


@dataclass(frozen=True)
class Attempt:
    """A node that runs in `partial`; the finished output is renamed to `folder`."""

    node: Node
    folder: Path
    inputs: Mapping[str, Path]
    """Input name to the finished folder that is read."""
    made_from: Mapping[str, Mapping[str, str]]
    """Input name to stage, fingerprint and record checksum of the execution that produced it."""
    settings: Mapping[str, Any]
    """`threads`, `divergence` and `stall_minutes` of the process; they change no result."""
    started: datetime
    """Start of this attempt."""
    first_started: str = ""
    """Start of the first attempt, in ISO format."""
    attempts: int = 1
    """Number of attempts, this one included."""
    seconds_before: float = 0.0
    """Running time of earlier attempts."""
    seconds_checking: float = 0.0
    """Time spent on checking the inputs against their records."""

    @property
    def partial(self) -> Path:
        return partial_of(self.folder)

    def seconds(self) -> float:
        """Running time of all attempts up to now."""
        return self.seconds_before + (datetime.now(UTC) - self.started).total_seconds()


def recover(attempt: Attempt) -> bool:
    """Finish an attempt whose runner was killed between writing the record and renaming the
    folder. False if there is none."""
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
    """Prepare the working folder; return the attempt with its history, and a message for the user.

    The state of an earlier attempt is kept if it had the same fingerprint and inputs, and removed
    or moved aside otherwise."""
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
        notice = f"continues from attempt {previous['attempts']}"
    elif attempt.partial.exists() and (outcome := set_aside(attempt.partial)):
        notice = (
            f"starts over: the state of an earlier attempt ({outcome}) was made under other"
            " settings or from other inputs"
        )
    attempt.partial.parent.mkdir(exist_ok=True)  # `evals`
    attempt.partial.mkdir(exist_ok=True)
    _remove_outputs(attempt.partial)
    (attempt.partial / FAILURE).unlink(missing_ok=True)
    attempt = replace(
        attempt,
        first_started=attempt.first_started or attempt.started.isoformat(timespec="seconds"),
    )
    write_attempt(attempt, ended=False)
    return attempt, notice


def write_attempt(attempt: Attempt, ended: bool) -> None:
    """Write `attempt.json`: what the worker runs, and which attempt the working folder is of."""
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
    """Running time of the attempts at an unfinished folder, in seconds; 0 if there is none."""
    previous = read_small(partial / ATTEMPT)
    return previous["seconds_before"] + _lost_seconds(partial, previous) if previous else 0.0


def _lost_seconds(partial: Path, previous: Mapping[str, Any]) -> float:
    """Running time of an attempt whose runner was killed: up to the last change of its log."""
    log = partial / LOG
    if previous["started"] is None or not log.exists():
        return 0.0
    return max(0.0, log.stat().st_mtime - previous["started"])


def _remove_outputs(partial: Path) -> None:
    """Keep `resume/` and the logs of an earlier attempt, from which a stage continues; remove the
    rest.

    A killed library may leave temporary files, which must not become outputs."""
    for path in partial.iterdir():
        kept = path.name in (SCRATCH, LOCK, ATTEMPT) or is_log(path.name)
        if kept or path.suffix == ".jsonl":
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def set_aside(partial: Path) -> str:
    """Empty an unfinished folder, or move it to `replaced/` if it has checkpoints. Returns what was
    done in words; "" if the folder was empty."""
    if not any(partial.glob(f"{SCRATCH}/checkpoint-*")):
        return "removed" if empty(partial) else ""
    target = partial.parent / REPLACED / partial.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    return f"moved to {target}"


def empty(folder: Path) -> bool:
    """Remove everything in `folder` except its lock; True if there was anything."""
    paths = [path for path in folder.iterdir() if path.name != LOCK]
    for path in paths:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return bool(paths)


def finish(attempt: Attempt, outputs: Mapping[str, Any]) -> None:
    """Write the record of a worker that succeeded, and give the folder its final name."""
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
            **{name: outputs[name] for name in (BY_RANK,) if name in outputs},
            "tokens_generated": outputs["tokens_generated"],
            "tokens_trained": outputs["tokens_trained"],
            "metrics": outputs["metrics"],
        },
    )
    seal(attempt)


def seal(attempt: Attempt) -> None:
    """Remove everything that is not an output, and rename the folder. Safe to repeat after a crash
    at any point."""
    shutil.rmtree(attempt.partial / SCRATCH, ignore_errors=True)
    for name in (ATTEMPT, FAILURE, LOCK):
        (attempt.partial / name).unlink(missing_ok=True)
    assert (attempt.partial / RECORD).is_file()
    attempt.partial.rename(attempt.folder)
    sync_folder(attempt.folder.parent)
