"""Checkpoints inside a training stage: what a killed stage goes on from.

The trainer's checkpoint folder counts only once `complete.json` is in it, written last with every file's size; one
without it, or that differs from it, is deleted. Lines that were logged after the checkpoint are taken back.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from common.files import files_below, read_json_lines, write_json, write_text
from common.stage import StageContext

MARKER = "complete.json"


def resume_folder(context: StageContext) -> Path:
    return context.folder / "resume"


def latest(context: StageContext) -> Path | None:
    """The newest complete checkpoint of an earlier attempt; incomplete ones are deleted."""
    found = []
    for folder in resume_folder(context).glob("checkpoint-*"):
        if _complete(folder):
            found.append(folder)
        else:
            shutil.rmtree(folder)
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path | None) -> int:
    """The optimiser step a checkpoint was taken after; 0 for none."""
    return int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0


def take_back(path: Path, step: int) -> None:
    """Drop the JSON lines whose `step` is after `step`."""
    kept = [row for row in read_json_lines(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def _sizes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in files_below(folder) if p.name != MARKER}


def _complete(folder: Path) -> bool:
    marker = folder / MARKER
    return marker.is_file() and json.loads(marker.read_text()) == _sizes(folder)


class CompleteCheckpoints(TrainerCallback):
    """Adds what the trainer does not save (`extra`), marks the checkpoint complete, and stops when asked to."""

    def __init__(self, context: StageContext, extra: Callable[[Path], None] | None = None) -> None:
        self.context = context
        self.extra = extra
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.context.stop_requested() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        folder = resume_folder(self.context) / f"checkpoint-{state.global_step}"
        if self.extra:
            self.extra(folder)
        write_json(folder / MARKER, _sizes(folder))
