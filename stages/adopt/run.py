"""Adopts a finished stage of another run: copies its files, checks each one, and keeps its record.

Stages that read the adopted stage treat it as one of its original kind, made in this run."""

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from common.artifacts import HELD_OUT, ORIGIN, PROMPTS
from common.errors import BadInput, Interrupted
from common.files import checksum, read_sealed
from common.stage import Inputs, Outputs, StageContext
from prompts.repeats import normalised
from prompts.schema import read_prompts
from stages.adopt.config import AdoptStage
from stages.adopt.record import RECORD

OWN = ("stage.log", "record.json", "attempt.json", "failure.json", "pruned.json", ".lock")
"""Files of this stage's own attempt, which no adopted file may replace."""
LOGS = "stage-rank-"
"""What the names of the logs of a stage's other processes begin with."""


def run(config: AdoptStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Copy the files that the record in `config.folder` lists, and the record as `adopted.json`.

    Raises BadInput for a file that differs from the record, and for training prompts that this run
    holds out."""
    source = Path(config.folder)
    try:
        # Read once, so that the files below are checked against the record that is kept.
        ORIGIN.path(context.folder).write_bytes((source / RECORD).read_bytes())
        record = read_sealed(ORIGIN.path(context.folder))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{source}: cannot be adopted: {error}", "name a finished stage's folder"
        ) from None
    names = [name for name in record["files"] if name not in OWN and not name.startswith(LOGS)]
    for number, name in enumerate(names, start=1):
        if context.stop_requested():
            raise Interrupted(
                "adopting was stopped", "run the same command again: it copies all files again"
            )
        _copy(
            source / _checked(name, source), context.folder / _target(name), record["files"][name]
        )
        context.progress(number, len(names), unit="file")
    _refuse_held_out(source, context.folder, inputs["prompts"])
    return Outputs(metrics=record["metrics"])


def _checked(name: str, source: Path) -> str:
    """`name` if it is a path inside a stage's folder; otherwise BadInput."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or ".." in parts
        or PurePosixPath(name).is_absolute()
        or "\0" in name
        or parts[0] in OWN
    ):
        raise BadInput(
            f"{source}: its record lists {name!r}, which is no file of a stage",
            "adopt another stage",
        )
    return name


def _target(name: str) -> str:
    """The copy's name. The origin record of a stage that was itself adopted gets a prefix."""
    return f"from-{name}" if name.endswith(ORIGIN.file) and "/" not in name else name


def _copy(source: Path, target: Path, recorded: Mapping[str, Any]) -> None:
    if not source.is_file():
        remedy = (
            "run the stage again in its run with --redo (runtime.keep may have removed its weights)"
        )
        raise BadInput(f"{source}: is missing, although its stage's record lists it", remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
    if target.stat().st_size != recorded["size"] or checksum(target) != recorded["sha256"]:
        raise BadInput(
            f"{source}: is not as its stage recorded it",
            "restore it, or run its stage again in its run with --redo",
        )


def _refuse_held_out(source: Path, adopted: Path, prompts: Path) -> None:
    """BadInput when this run holds out one of the adopted training prompts."""
    if not PROMPTS.path(adopted).exists():
        return
    held_out = read_prompts(HELD_OUT.path(prompts), may_be_empty=True)
    ids, texts = {prompt.id for prompt in held_out}, {normalised(prompt) for prompt in held_out}
    training = read_prompts(PROMPTS.path(adopted))
    shared = [
        prompt.named for prompt in training if prompt.id in ids or normalised(prompt) in texts
    ]
    if shared:
        raise BadInput(
            f"{source}: {len(shared)} of its {len(training)} training prompts are held out in this"
            f" run: {shared[0]} ...",
            "give this recipe the `prompts` and `seed` of the other run, so that both hold out the"
            " same prompts",
        )
