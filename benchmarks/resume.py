"""Killed anywhere, does a run end in the same bytes?

    make bench-resume             # 56 kills or more; interrupted, it goes on with the next trial

`whole` runs `recipes/resume.yaml` at once. A trial runs it in a new folder, with a verdict cache of
its own, and kills it by SIGKILL eight times: at a random moment of `prompts`, `base`, the filter,
SFT, DPO and one of the evaluations, and of RL twice. What dies is, by chance, the runner, the
stage, or both. After each kill the same command is given again; in the end every file of the run
and every cached verdict is compared with those of `whole`.

`results/resume.json` has each kill's stage, moment (seconds after the stage began), victim, and
whether the trial ended in the same bytes."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, commit, machine
from benchmarks.same_run import cached, differing
from common.files import read_json, write_json
from models.packaged import resolve_dense
from pipeline.execution.state import read_small
from pipeline.store.record import ATTEMPT, RECORD

RECIPE = ROOT / "benchmarks" / "recipes" / "resume.yaml"
WORK = ROOT / "runs" / "bench-resume"
TRIALS = 7
VICTIMS = ("runner", "stage", "both")
FOLDERS = {
    "prompts": "01-prompts",
    "base": "02-base",
    "filter": "03-filter",
    "sft": "04-sft",
    "rl": "05-rl",
    "dpo": "06-dpo",
    "eval-sft": "evals/sft",
    "eval-dpo": "evals/dpo",
}
"""Where the stages of the recipe are."""
ORDER = ("prompts", "base", "filter", "sft", "eval-sft", "rl", "dpo", "eval-dpo")
SLOWEST_S = 600


def command(folder: Path) -> list[str]:
    one_core = ["--set", "runtime.threads=1"]
    return [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        str(RECIPE),
        "--runs-dir",
        str(folder),
        *one_core,
    ]


def start(folder: Path) -> subprocess.Popen[bytes]:
    model, cache = resolve_dense("smollm2-135m-instruct"), folder / "cache"
    if not cache.exists():
        cache.mkdir(parents=True)
        (cache / model.name).symlink_to(model)
    environment = {**os.environ, "UPHILL_CACHE": str(cache)}
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(command(folder), cwd=ROOT, env=environment, stdout=log, stderr=log)


def finish(folder: Path) -> None:
    if code := start(folder).wait(SLOWEST_S):
        raise SystemExit(f"{folder}: exit code {code}; see {folder / 'run.log'}")


def whole() -> Path:
    """The run that nobody disturbed."""
    if not (WORK / "whole" / "done.json").exists():
        shutil.rmtree(WORK / "whole", ignore_errors=True)
        finish(WORK / "whole")
        write_json(WORK / "whole" / "done.json", {"commit": commit()})
    return WORK / "whole"


def running(run: Path) -> dict[str, dict[str, Any]]:
    """The stages at work: id to what their process was told."""
    jobs = {
        stage: read_small(run / f"{folder}.partial" / ATTEMPT) for stage, folder in FOLDERS.items()
    }
    return {stage: job for stage, job in jobs.items() if job and job["started"] is not None}


def kill(process: subprocess.Popen[bytes], victim: str) -> None:
    """SIGKILL. The kernel ends a stage whose runner died; a runner whose stage died says so and
    ends.

    Between two stages there is none to kill: the runner goes instead.
    """
    children = [
        int(pid)
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    doomed = {"runner": [process.pid], "stage": children, "both": [process.pid, *children]}[victim]
    for pid in doomed or [process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_stage(folder: Path, process: subprocess.Popen[bytes], stage: str) -> None:
    """Until the stage has begun, or is done before it was seen to begin."""
    run, end = folder / RECIPE.stem, time.monotonic() + SLOWEST_S
    while not (run / FOLDERS[stage] / RECORD).exists() and stage not in running(run):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{folder}: {stage} did not begin; see {folder / 'run.log'}")
        time.sleep(0.01)


def disturb(folder: Path, stage: str, wait: float, victim: str) -> dict[str, Any]:
    """Run until `wait` seconds after `stage` began, then kill. The stage that was hit may be a
    later one."""
    run, process = folder / RECIPE.stem, start(folder)
    wait_for_stage(folder, process, stage)
    time.sleep(wait)
    if process.poll() is not None:
        return {"aimed_at": stage, "hit": None}
    hit = running(run)
    kill(process, victim)
    name = next((one for one, job in hit.items() if job["runner"] == process.pid), "between stages")
    seconds = round(time.time() - hit[name]["started"], 2) if name in hit else 0.0
    return {"aimed_at": stage, "hit": name, "seconds": seconds, "victim": victim}


def left_different(folder: Path, reference: Path) -> list[str]:
    """What a run left that differs from what `reference` left."""
    verdicts = [
        next((place / "cache").glob("**/verdicts*.sqlite")) for place in (folder, reference)
    ]
    cache = [] if cached(verdicts[0]) == cached(verdicts[1]) else ["the verdict cache"]
    return differing(folder / RECIPE.stem, reference / RECIPE.stem) + cache


def trial(number: int, reference: Path) -> dict[str, Any]:
    """One run with eight kills, and what differs in the end."""
    folder = WORK / f"trial-{number}"
    if not (folder / "done.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        draw = random.Random(number)
        aims = [
            "prompts",
            "base",
            "filter",
            "sft",
            "rl",
            "rl",
            "dpo",
            draw.choice(["eval-sft", "eval-dpo"]),
        ]
        kills = []
        for stage in sorted(aims, key=ORDER.index):
            record = read_json(reference / RECIPE.stem / FOLDERS[stage] / "record.json")
            kills.append(
                disturb(
                    folder, stage, draw.uniform(0, 0.9 * record["seconds"]), draw.choice(VICTIMS)
                )
            )
        finish(folder)
        differ = left_different(folder, reference)
        write_json(folder / "done.json", {"commit": commit(), "kills": kills, "differ": differ})
        if not differ:
            shutil.rmtree(folder / RECIPE.stem)
            shutil.rmtree(folder / "cache")
    found: dict[str, Any] = read_json(folder / "done.json")
    print(
        f"trial {number}: {[kill['hit'] for kill in found['kills']]}, differ: {found['differ']}",
        flush=True,
    )
    return found


def summary(trials: Mapping[int, dict[str, Any]]) -> None:
    """Write `results/resume.json`."""
    kills = [
        {"trial": number, "commit": one["commit"], **kill, "same": not one["differ"]}
        for number, one in trials.items()
        for kill in one["kills"]
        if kill["hit"]
    ]
    head = {"command": "make bench-resume", "commit": commit(), "machine": machine()}
    by_stage = dict(sorted(Counter(kill["hit"] for kill in kills).items()))
    figures = {
        "kills": len(kills),
        "same": sum(kill["same"] for kill in kills),
        "by_stage": by_stage,
    }
    differ = {number: one["differ"] for number, one in trials.items() if one["differ"]}
    write_json(RESULTS / "resume.json", {**head, **figures, "differ": differ, "each": kills})
    print(figures, differ)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("part", choices=("whole", "trials", "summary"))
    arguments.add_argument(
        "--share", default="0/1", help="0/2 and 1/2: every other trial, for two processes"
    )
    chosen = arguments.parse_args()
    reference = whole()
    place, of = map(int, chosen.share.split("/"))
    if chosen.part == "trials":
        for number in range(place, TRIALS, of):
            trial(number, reference)
    if chosen.part == "summary":
        summary({number: trial(number, reference) for number in range(TRIALS)})


if __name__ == "__main__":
    main()
