"""Checkpoints inside a training stage: what a killed or stopped stage goes on from.

A checkpoint folder counts only once `complete.json` is in it, which is written last. That file has
the checksum of every other file, and of the stage's logs (`*.jsonl`) at that time. A checkpoint
that does not agree with it is reported and never used. What was logged after the checkpoint that is
used is cut off."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from common.errors import BadInput
from common.files import checksum, files_below, read_sealed, write_sealed
from common.stage import StageContext
from training.processes import agree_stop, barrier, broadcast

MARKER = "complete.json"
LOGS = "*.jsonl"


def resume_folder(context: StageContext) -> Path:
    return context.folder / "resume"


def go_on(context: StageContext) -> Path | None:
    """The newest sound checkpoint of an earlier attempt, with the stage's logs cut back to it; None
    without one.

    Call it once, on every rank, before anything is logged. Newer checkpoints that are not sound are
    deleted: without a note where a crash left them without `complete.json`, otherwise with one that
    names the file. BadInput where the checkpoint was saved under another kind of sharding."""
    return broadcast(context, _sound(context) if context.main else None)


def _sound(context: StageContext) -> Path | None:
    start = None
    for folder in sorted(resume_folder(context).glob("checkpoint-*"), key=step_of, reverse=True):
        problem = problem_of(folder, context.folder)
        if problem is None:
            start = folder
            break
        if (folder / MARKER).exists():
            context.note(f"{problem}; the stage goes on from before checkpoint {step_of(folder)}")
        shutil.rmtree(folder)
    marker = read_sealed(start / MARKER) if start else {"logs": {}}
    if start:
        _require_same_sharding(start, marker, context)
    logs = marker["logs"]
    for path in context.folder.glob(LOGS):
        if path.name in logs:
            os.truncate(path, logs[path.name]["size"])
        else:
            path.unlink()
    return start


def _require_same_sharding(start: Path, marker: dict[str, Any], context: StageContext) -> None:
    """BadInput where one of checkpoint and stage is sharded and the other is not. Its number of
    processes may change; a checkpoint of an earlier version of uphill names no layout."""
    devices = context.execution.devices
    saved = marker.get("devices", {"processes": 1, "sharding": "none"})
    if (saved["sharding"] == "fsdp2") != (devices.sharding == "fsdp2"):
        raise BadInput(
            f"{start}: was saved by a stage with devices {json.dumps(saved)}, and devices.sharding"
            f" is now {devices.sharding}",
            f"set devices.sharding to {saved['sharding']} again (the number of processes may"
            " change), or begin the stage anew with --redo",
        )


def step_of(checkpoint: Path | None) -> int:
    """The optimiser step a checkpoint was taken after; 0 for none."""
    return int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0


def problem_of(checkpoint: Path, stage: Path | None) -> str | None:
    """What is wrong with a checkpoint, or with the logs of its `stage` that it belongs to if that
    is given; None if it can be trusted."""
    try:
        marker = read_sealed(checkpoint / MARKER)
    except (OSError, ValueError) as error:
        return str(error)
    for name, known in marker["logs"].items() if stage else ():
        assert stage is not None
        if (
            not (stage / name).is_file()
            or _beginning(stage / name, known["size"]) != known["sha256"]
        ):
            return f"{stage / name}: is not what it was at checkpoint {step_of(checkpoint)}"
    names = {str(path.relative_to(checkpoint)) for path in files_below(checkpoint)} - {MARKER}
    for name in sorted(names ^ marker["files"].keys()):
        return (
            f"{checkpoint / name}: {'is not of the checkpoint' if name in names else 'is missing'}"
        )
    for name, known in marker["files"].items():
        if checksum(checkpoint / name) != known:
            return f"{checkpoint / name}: has changed since it was saved (its SHA-256 differs)"
    return None


def _beginning(path: Path, size: int) -> str:
    """The checksum of a file's first bytes."""
    with path.open("rb") as handle:
        return hashlib.sha256(handle.read(size)).hexdigest()


def _marked(checkpoint: Path, context: StageContext) -> dict[str, Any]:
    """The content of `complete.json`; the files are on the disk before it is."""
    stage, devices = context.folder, context.execution.devices
    for path in files_below(checkpoint):
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    files = {str(path.relative_to(checkpoint)): checksum(path) for path in files_below(checkpoint)}
    logs = {
        p.name: {"size": p.stat().st_size, "sha256": checksum(p)} for p in sorted(stage.glob(LOGS))
    }
    layout = {"processes": devices.processes, "sharding": devices.sharding}
    return {"files": files, "logs": logs, "devices": layout}


class CompleteCheckpoints(TrainerCallback):
    """Saves what the trainer does not (`extra`), marks checkpoints complete, and stops training on
    request. With several processes all save, and rank 0 does the rest once all have.

    The time that a checkpoint takes goes into the stage's log (`benchmarks/cost.py` reads it
    there)."""

    def __init__(self, context: StageContext, extra: Callable[[Path], None]) -> None:
        self.context = context
        self.extra = extra
        self.stopped = False
        self._logged = time.monotonic()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        # A trainer that resumes takes the interval out of the checkpoint; ours may have changed.
        state.save_steps = args.save_steps

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        # The trainer logs a step, then saves it.
        self._logged = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if agree_stop(self.context) and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        folder = resume_folder(self.context) / f"checkpoint-{state.global_step}"
        barrier(self.context)
        if not self.context.main:
            return
        self.extra(folder)
        write_sealed(folder / MARKER, _marked(folder, self.context))
        print(f"{folder.name} took {time.monotonic() - self._logged:.3f} s", flush=True)
