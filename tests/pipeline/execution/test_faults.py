"""What the machine did to a stage, in the words of the libraries that noticed it."""

import errno
import os
import sqlite3

import pytest

from pipeline.execution import faults
from pipeline.execution.faults import fault_of, what_to_lower


def os_error(number, place="resume/checkpoint-2/optimizer.pt"):
    return OSError(number, os.strerror(number), place)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (os_error(errno.ENOSPC), "optimizer.pt: the disk is full"),
        (os_error(errno.EDQUOT), "the disk quota is used up"),
        (os_error(errno.EROFS), "the file system is read-only"),
        (os_error(errno.ESTALE), "the file system is no longer available"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (
            RuntimeError("IoError(Os { code: 28, message: 'No space left on device' })"),
            "the disk is full",
        ),
        (MemoryError(), "memory ran out"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory ran out: CUDA"),
        (
            ValueError("No available memory for the cache blocks. Try increasing it"),
            "memory ran out",
        ),
    ],
)
def test_a_fault_of_the_machine_is_told_as_one(tmp_path, error, words):
    remedy = what_to_lower("rl", {"rows_per_forward": 8, "kv_cache_gib": 1})
    assert remedy == "runtime.stages.rl.rows_per_forward (now 8)"
    fault = fault_of(error, tmp_path, remedy)
    assert fault is not None and words in fault.message and fault.remedy
    assert (remedy in fault.remedy) == ("memory" in words)


def test_what_a_library_made_of_a_full_disk_is_seen_through(tmp_path):
    try:
        try:
            raise os_error(errno.ENOSPC, "metrics.jsonl")
        except OSError as error:
            raise RuntimeError("could not log") from error
    except RuntimeError as error:
        fault = fault_of(error, tmp_path, "sft")
        assert fault is not None and "metrics.jsonl: the disk is full" in fault.message


@pytest.mark.parametrize("full", [True, False])
def test_torchs_failed_write_is_the_disks_only_if_it_is_full(tmp_path, monkeypatch, full):
    monkeypatch.setattr(faults, "FULL_BELOW", 1 << 62 if full else 0)
    error = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert (fault_of(error, tmp_path, "sft") is not None) == full


@pytest.mark.parametrize(
    "error", [ValueError("shapes differ"), FileNotFoundError(2, "No such file", "x"), KeyError("x")]
)
def test_our_own_mistakes_stay_mistakes(tmp_path, error):
    assert fault_of(error, tmp_path, "sft") is None
