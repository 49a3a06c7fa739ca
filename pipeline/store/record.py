"""`record.json` of a finished stage: its identity, inputs, versions and outputs, and the check that
its files have not changed."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import BadInput, RunFailed
from common.files import SEAL, checksum, files_below, read_json, read_sealed, write_sealed
from common.versions import versions
from pipeline.checkout import ROOT
from pipeline.store.lock import LOCK

RECORD = "record.json"
FORMAT = 2
"""Format number of records and plans. Format 1 had every default in a stage's identity. A folder of
another format is refused."""
SCRATCH = "resume"
"""Folder for what only resuming needs; removed when the stage is finished."""
ATTEMPT = "attempt.json"
FAILURE = "failure.json"
PRUNED = "pruned.json"
"""Lists the files that pruning removed from a finished stage (`pipeline/execution/prune.py`)."""
OWN_FILES = (ATTEMPT, FAILURE, LOCK, RECORD, PRUNED)
"""The runner's own files in a stage's folder, which are not outputs."""


def commit(checkout: Path = ROOT) -> str | None:
    """The checkout's git commit, with `+dirty` for uncommitted changes; None if git does not know.

    Checks that git tracks this project's files: an installed wheel may be inside another project's
    checkout."""
    try:
        _git(checkout, "ls-files", "--error-unmatch", "pipeline/checkout.py")
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+dirty" if changed else head


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode >= 0:  # otherwise a signal killed git: try again
            break
    done.check_returncode()
    return done.stdout.strip()


def machine() -> str:
    """Operating system, CPUs and memory in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} CPUs,"
        f" {memory:.0f} GiB memory"
    )


def output_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Every output below `folder` as name to size and SHA-256. Also flushes each file to the
    disk."""
    outputs = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if name in OWN_FILES or name.startswith(f"{SCRATCH}/"):
            continue
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        outputs[name] = {"size": path.stat().st_size, "sha256": checksum(path)}
    return outputs


def write_record(folder: Path, content: dict[str, Any]) -> None:
    """Write the record of a stage whose outputs are complete. Nothing is written to `folder`
    afterwards."""
    begin = time.monotonic()
    files = output_files(folder)
    checking = content.get("seconds_checking", 0.0) + time.monotonic() - begin
    about = {"versions": versions(), "commit": commit(), "machine": machine()}
    head = {"format": FORMAT, **content, "seconds_checking": round(checking, 3)}
    write_sealed(folder / RECORD, {**head, **about, "files": files})
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush renames and new names in `folder` to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished stage; None if there is none. BadInput when it is damaged or of
    another format."""
    path = folder / RECORD
    return (
        read_own(path, "move the folder away, and the stage runs again") if path.exists() else None
    )


def read_own(path: Path, remedy: str) -> dict[str, Any]:
    """The content of a sealed file of this format. BadInput when a byte has changed, or when
    another version of uphill wrote it."""
    try:
        value = read_json(path)
        older = isinstance(value, dict) and not {SEAL, "format"} & value.keys()
        content = {"format": 0} if older else read_sealed(path)
        if not isinstance(content.get("format"), int):
            raise ValueError("it has no format number")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}", remedy) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if str(path) in str(error) else f"{path}: is damaged: {error}"
        raise BadInput(reason, remedy) from None
    if content["format"] != FORMAT:
        version = "an older" if older or content["format"] < FORMAT else "a newer"
        raise BadInput(
            f"{path}: was written by {version} version of uphill (format {content['format']}; this"
            f" one reads {FORMAT})",
            "continue with the version that started the run, or give the recipe a new name",
        )
    return content


def record_checksum(folder: Path) -> str:
    """Identifies one execution of a stage. A second execution has another record."""
    return checksum(folder / RECORD)


def problems_in(folder: Path, record: Mapping[str, Any], whole: bool) -> Iterator[tuple[Path, str]]:
    """The files of a finished stage that are missing, changed or unexpected, each with a message.
    `whole` compares checksums, otherwise only sizes."""
    pruned = pruned_files(folder)
    for name, known in record["files"].items():
        path = folder / name
        if name in pruned:
            continue
        if not path.is_file():
            yield path, "is missing"
        elif path.stat().st_size != known["size"]:
            yield (
                path,
                f"has {path.stat().st_size} bytes, not the recorded {known['size']}",
            )
        elif whole and checksum(path) != known["sha256"]:
            yield path, "has changed since it was recorded (its SHA-256 differs)"
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if name not in record["files"] and name not in OWN_FILES:
            yield path, "is not among the files that the stage wrote"


def pruned_files(folder: Path) -> frozenset[str]:
    """Names of the files that pruning removed from a finished stage. BadInput when the list is
    damaged."""
    path = folder / PRUNED
    return (
        frozenset(read_own(path, "run the stage again with --redo")["files"])
        if path.exists()
        else frozenset()
    )


def require_weights(folder: Path, stage: str) -> None:
    """RunFailed when a stage's weights were pruned."""
    if pruned_files(folder):
        raise RunFailed(
            f"{folder}: its weights were removed by `runtime.keep`",
            f"run the stage again with `--redo {stage}`",
        )


def verify(folder: Path, stage: str, whole: bool) -> None:
    """RunFailed that names the first file of a finished stage that is not as recorded."""
    record = read_record(folder)
    if record is None:
        raise RunFailed(
            f"{folder}: its {RECORD} is missing",
            f"restore the file, or run the stage again with `--redo {stage}`",
        )
    for path, problem in problems_in(folder, record, whole):
        raise RunFailed(
            f"{path}: {problem}", f"restore the file, or run the stage again with `--redo {stage}`"
        )
