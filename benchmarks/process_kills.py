"""Killed anywhere in a layout of several processes, does a run end in the same bytes, and does it
leave nothing behind?

    make bench-process-kills          # 60 kills; interrupted, it goes on with the next trial

A trial runs RL of `recipes/process-kills.yaml` in layout C (two trainers with FSDP2, two servers)
or D (one server, rollouts one step ahead), and sends SIGKILL to a random process at random moments:
a training process, a server, the engine core of a server, or the runner. After a kill that ends
the run the same command is given again; a run goes on by itself when a server dies. In the end
every file is compared with those of an undisturbed run in the same layout. After each run that
ended it is counted what is left: processes, listening ports, files in shared memory.

`results/process_kills.json` has each kill's layout, victim and moment, the seconds until the run
had said what happened (or had gone on), what was left, and whether the trial ended in the same
bytes."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, commit, machine
from benchmarks.layouts import options, run, start
from benchmarks.same_run import differing
from common.files import read_json, write_json

RECIPE = ROOT / "benchmarks" / "recipes" / "process-kills.yaml"
WORK = ROOT / "runs" / "bench-process-kills"
LAYOUTS = ("C", "D")
KILLS = 8
"""In a trial, at most: a run may end before."""
OF_EACH = 30
"""Kills in each layout, at least."""
WITHIN_S = 40.0
"""Kills come at most this long after the RL stage began or went on."""
VICTIMS = {
    "rank": "pipeline.execution.worker",
    "server": "rollouts.served",
    "engine core": "EngineCore",
    "runner": "-m\0pipeline\0run",
}
"""What a process of each kind has in its command line or in its name."""


def below(pid: int) -> Iterator[int]:
    """A process and all that it started, as far as they are still its descendants."""
    yield pid
    children = list[str]()
    for thread in Path(f"/proc/{pid}/task").glob(
        "*"
    ):  # a child belongs to the thread that began it
        with suppress(FileNotFoundError, ProcessLookupError):
            children += (thread / "children").read_text().split()
    for child in children:
        yield from below(int(child))


def kind_of(pid: int) -> str | None:
    """Which kind of victim a process is; None if it is none or exists no more."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((kind for kind, mark in reversed(VICTIMS.items()) if mark in words), None)


def left_behind(folder: Path) -> int:
    """How many processes name the folder, in their command line or their environment, or are
    servers whose stage is gone."""
    mark, count = str(folder).encode(), 0
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            orphan = "\nPPid:\t1\n" in (process / "status").read_text()
        except OSError:
            continue
        server = kind_of(pid) in ("server", "engine core")
        count += pid != os.getpid() and (mark in words or (orphan and server))
    return count


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def ports() -> set[str]:
    """Local addresses that somebody listens at."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines if line.split()[3] == "0A"}


def whole(layout: str) -> Path:
    """The run that nobody disturbed."""
    folder = WORK / f"whole-{layout}"
    if not (folder / "done.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(RECIPE, WORK / "start", ["--until", "sft"])
        shutil.copytree(WORK / "start" / RECIPE.stem, folder / RECIPE.stem)
        run(RECIPE, folder, options(layout))
        write_json(folder / "done.json", {"commit": commit()})
    return folder


def trial(layout: str, number: int) -> dict[str, Any]:
    """A run with kills, and what differs in the end."""
    reference, folder = whole(layout), WORK / f"{layout}-{number}"
    if not (folder / "done.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(WORK / "start" / RECIPE.stem, folder / RECIPE.stem)
        draw = random.Random(f"{layout}{number}")
        kills = list[dict[str, Any]]()
        while len(kills) < KILLS and (kill := disturb(folder, layout, draw)):
            kills.append(kill)
        run(RECIPE, folder, options(layout))
        differ = differing(folder / RECIPE.stem, reference / RECIPE.stem)
        done = {"commit": commit(), "layout": layout, "kills": kills, "differ": differ}
        write_json(folder / "done.json", done)
        if not differ:
            shutil.rmtree(folder / RECIPE.stem)
    found: dict[str, Any] = read_json(folder / "done.json")
    print(layout, number, [kill["victim"] for kill in found["kills"]], found["differ"], flush=True)
    return found


def disturb(folder: Path, layout: str, draw: random.Random) -> dict[str, Any] | None:
    """Run, kill one process, and wait until the run has ended or gone on. None if the run was done
    before."""
    listening, shared = ports(), shared_memory()
    log = folder / "run.log"
    process = start(RECIPE, folder, options(layout), log)
    wait = draw.uniform(1.0, WITHIN_S)
    end = time.monotonic() + wait
    while time.monotonic() < end:
        if process.poll() is not None:
            return None
        time.sleep(0.05)
    alive = {pid: kind_of(pid) for pid in below(process.pid)}
    victim = draw.choice(sorted({kind for kind in alive.values() if kind}))
    chosen = sorted(pid for pid, kind in alive.items() if kind == victim)
    os.kill(draw.choice(chosen), signal.SIGKILL)
    began, size = time.monotonic(), log.stat().st_size
    while process.poll() is None and log.stat().st_size == size:
        time.sleep(0.05)
        if time.monotonic() - began > 60 and not (folder / RECIPE.stem / "04-rl.partial").exists():
            break
    silent = time.monotonic() - began
    ended = process.poll() is not None
    if not ended:  # a server died, and was started again
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(1.0)
    left = left_behind(folder)
    return {
        "victim": victim,
        "after_s": round(wait, 2),
        "ended": ended,
        "silent_s": round(silent, 2),
        "left_processes": left,
        "left_ports": len(ports() - listening),
        "left_shared_memory": len(shared_memory() - shared),
    }


def summary(trials: Mapping[str, dict[str, Any]]) -> None:
    """Write `results/process_kills.json`."""
    kills = [
        {"trial": name, "commit": one["commit"], **kill, "same": not one["differ"]}
        for name, one in trials.items()
        for kill in one["kills"]
    ]
    figures = {
        "kills": {"n": len(kills), "same": sum(kill["same"] for kill in kills)},
        "by_victim": dict(sorted(Counter(kill["victim"] for kill in kills).items())),
        "by_layout": dict(Counter(kill["trial"][0] for kill in kills)),
        "left": {
            name: sum(kill[f"left_{name}"] for kill in kills)
            for name in ("processes", "ports", "shared_memory")
        },
        "longest_silence_s": max((kill["silent_s"] for kill in kills), default=0.0),
    }
    head = {"command": "make bench-process-kills", "commit": commit(), "machine": machine()}
    differ = {name: one["differ"] for name, one in trials.items() if one["differ"]}
    document = {**head, **figures, "differ": differ, "each": kills}
    write_json(RESULTS / "process_kills.json", document)
    print(figures, differ)


def main() -> None:
    trials: dict[str, dict[str, Any]] = {}
    done = Counter[str]()
    for number in count():
        for layout in LAYOUTS:
            if done[layout] >= OF_EACH:
                continue
            trials[f"{layout}-{number}"] = trial(layout, number)
            done[layout] += len(trials[f"{layout}-{number}"]["kills"])
            summary(trials)
        if min(done[layout] for layout in LAYOUTS) >= OF_EACH:
            break


if __name__ == "__main__":
    main()
