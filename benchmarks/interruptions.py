"""SIGTERM, a full disk, and one that vanishes, in every stage: how it ends, how soon, whether the
run gets over it.

    make bench-resume             # after the kills; `full` and `vanished` mount a tmpfs, for which
    it must be root

`sigterm`: a run is asked to stop at a random moment of each stage. `seconds` is from the signal to
the end of the command, whose exit code must be 130. `full`: a run on a disk of its own, which has
16 kB left from the moment that a stage begins; the command must say so and end with exit code 1,
and goes on when there is room again. `vanished`: the disk of the run is mounted elsewhere while a
stage works, so that the run folder is gone; the command must say so, end with exit code 1 and leave
nothing in its place, and goes on when the disk is back. In the end each run is compared with the
one that nobody disturbed. Writes `results/interruptions.json`."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, commit, machine
from benchmarks.resume import (
    FOLDERS,
    ORDER,
    RECIPE,
    WORK,
    finish,
    left_different,
    start,
    wait_for_stage,
    whole,
)
from common.files import read_json, write_json

DISK_MIB, LEFT = 600, 16 * 1024


def last_words(folder: Path) -> str:
    """The error at the end of a run's log."""
    return (folder / "run.log").read_text().rpartition("error: ")[2].splitlines()[0]


def sigterm(folder: Path, reference: Path) -> list[dict[str, Any]]:
    """SIGTERM once in each stage."""
    draw, found = random.Random(0), []
    for stage in ORDER:
        process = start(folder)
        wait_for_stage(folder, process, stage)
        record = read_json(reference / RECIPE.stem / FOLDERS[stage] / "record.json")
        time.sleep(draw.uniform(0, record["seconds"]))
        process.terminate()
        begin = time.monotonic()
        code = process.wait(600)
        seconds = round(time.monotonic() - begin, 1)
        found.append(
            {"stage": stage, "seconds": seconds, "exit_code": code, "said": last_words(folder)}
        )
        print(found[-1], flush=True)
    return found


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own at `folder`."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full(folder: Path, reference: Path) -> list[dict[str, Any]]:
    """No room from the beginning of each stage on."""
    found, ballast = [], folder / "ballast"
    for stage in ORDER:
        process = start(folder)
        wait_for_stage(folder, process, stage)
        free = shutil.disk_usage(folder).free
        with ballast.open("wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, free - LEFT)
        code = process.wait(600)
        ballast.unlink()
        record = (folder / RECIPE.stem / FOLDERS[stage] / "record.json").exists()
        traceback = "this is a bug" in (folder / "run.log").read_text()
        found.append(
            {"stage": stage, "exit_code": code, "said": last_words(folder), "finished": record}
        )
        print(found[-1], flush=True)
        assert not traceback, folder
    return found


def vanished(folder: Path, reference: Path) -> list[dict[str, Any]]:
    """The disk with the run goes elsewhere once in each stage, and comes back."""
    draw, found, elsewhere = random.Random(1), [], folder.with_name("elsewhere")
    elsewhere.mkdir(exist_ok=True)
    for stage in ORDER:
        process = start(folder)
        wait_for_stage(folder, process, stage)
        record = read_json(reference / RECIPE.stem / FOLDERS[stage] / "record.json")
        time.sleep(draw.uniform(0, record["seconds"] / 2))
        subprocess.run(["mount", "--move", str(folder), str(elsewhere)], check=True)
        begin = time.monotonic()
        code = process.wait(600)
        seconds = round(time.monotonic() - begin, 1)
        left = [path.name for path in folder.rglob("*")]
        subprocess.run(["mount", "--move", str(elsewhere), str(folder)], check=True)
        one = {"stage": stage, "seconds": seconds, "exit_code": code, "said": last_words(folder)}
        found.append({**one, "left_in_its_place": left})
        print(found[-1], flush=True)
    elsewhere.rmdir()
    return found


def outcome(name: str, reference: Path) -> dict[str, Any]:
    """What happened in each stage, and what differs in the end."""
    folder = WORK / name
    if not (folder.parent / f"{name}.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with no_disk(folder) if name == "sigterm" else small_disk(folder):
            stages = SCENES[name](folder, reference)
            finish(folder)
            differ = left_different(folder, reference)
        write_json(folder.parent / f"{name}.json", {"stages": stages, "differ": differ})
    found: dict[str, Any] = read_json(folder.parent / f"{name}.json")
    return found


@contextmanager
def no_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True)
    yield


SCENES = {"sigterm": sigterm, "full": full, "vanished": vanished}


def main() -> None:
    reference = whole()
    for name in sys.argv[1:]:
        outcome(name, reference)
    if not sys.argv[1:]:
        head = {"command": "make bench-resume", "commit": commit(), "machine": machine()}
        figures = {name: outcome(name, reference) for name in SCENES}
        for one in (stage for found in figures.values() for stage in found["stages"]):
            one["said"] = one["said"].replace(f"{ROOT}/", "")
        write_json(RESULTS / "interruptions.json", {**head, **figures})


if __name__ == "__main__":
    main()
