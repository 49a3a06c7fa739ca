"""A checkpoint of a stage that is not finished: `RUN:STAGE@STEP`, or `@last`.

The stage may go on meanwhile and remove it, so its files are held by links before they are read."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from common.artifacts import CHECKPOINT
from common.errors import BadInput
from common.files import checksum
from pipeline.execution.gates import started_from
from pipeline.execution.run_folder import find_stage, load_plan
from pipeline.execution.state import inspect
from pipeline.planning.plan import EVALUATIONS, Plan
from pipeline.store.record import SCRATCH

LAST = "last"
MARKER = "complete.json"
"""The file that a checkpoint is whole with (`training/resume.py`)."""


@dataclass(frozen=True)
class Midway:
    """A checkpoint inside an unfinished stage."""

    run: Path
    plan: Plan
    stage: str
    step: int
    saved: Path
    start: Path
    """The checkpoint that the stage started from."""

    @property
    def name(self) -> str:
        return f"{self.stage}@{self.step}"

    def made_from(self) -> dict[str, str]:
        """What identifies its content."""
        return {"stage": self.stage, "step": str(self.step), "files": checksum(self.saved / MARKER)}


def is_midway(name: str) -> bool:
    """Whether `RUN:STAGE@STEP` is meant."""
    return "@" in name.rpartition(":")[2]


def find_midway(name: str, runs_dir: Path) -> Midway:
    """The checkpoint. BadInput where there is none."""
    run_stage, _, wanted = name.rpartition("@")
    run, stage = find_stage(run_stage, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    if stage is None or (wanted != LAST and not wanted.isdecimal()):
        raise BadInput(f"{name}: no checkpoint is named like that", "name RUN:STAGE@STEP or @last")
    state, parent = states[plan[stage].id], started_from(plan, states, stage)
    if state.state == "done" or parent is None:
        raise BadInput(
            f"{name}: {stage!r} is {state.state}, and has no checkpoint to go on from",
            f"name {run_stage} for the stage's own checkpoint",
        )
    folders = (state.partial / SCRATCH).glob("checkpoint-*")
    steps = {int(one.name.rsplit("-", 1)[1]): one for one in folders if (one / MARKER).is_file()}
    step = max(steps, default=-1) if wanted == LAST else int(wanted)
    if step not in steps:
        has = ", ".join(map(str, sorted(steps))) or "none"
        raise BadInput(f"{name}: there is no such checkpoint now", f"steps that are kept: {has}")
    start = CHECKPOINT.path(states[parent].folder)
    return Midway(run, plan, stage, step, steps[step], start)


@contextmanager
def written(midway: Midway) -> Iterator[Path]:
    """A folder with the policy as a stage's checkpoint, while it is needed. BadInput where the
    checkpoint is not whole or has gone."""
    place = midway.run / EVALUATIONS
    place.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".midway-", dir=place) as folder:
        held, target = Path(folder) / midway.saved.name, CHECKPOINT.path(Path(folder))
        try:
            shutil.copytree(midway.saved, held, copy_function=os.link)
        except (OSError, shutil.Error):
            remedy = "name a newer one, or @last"
            raise BadInput(f"{midway.saved}: was removed by the stage", remedy) from None
        words = [sys.executable, "-P", "-m", "training.midway", held, midway.start, target]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        if done.returncode:
            message, _, remedy = (done.stderr.strip() or "it ended").rpartition("\n")
            raise BadInput(f"{midway.saved}: {message}", remedy)
        shutil.rmtree(held)
        yield Path(folder)
