"""Take over what a finished stage of another run made: a copy of its files, each one proven, and of its record.

From here on the stage is one of its own kind: who names it as an input reads its files as if they were made here.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import BadInput
from common.files import checksum, read_sealed
from common.stage import Inputs, Outputs, StageContext
from prompts.schema import read_prompts
from prompts.split import normalised
from stages.adopt.config import AdoptStage

ORIGIN = "adopted.json"
"""The record of the stage that made the files, as it is in the other run."""
OWN = ("stage.log", ORIGIN, "record.json", "job.json", "failure.json", "pruned.json", ".lock")
"""Files of this stage's own attempt, which no adopted one may replace."""


def run(config: AdoptStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write the files that the record in `config.folder` lists, and `adopted.json`.

    Raises BadInput for a file that is not as recorded, and for training prompts that this run holds out.
    """
    source = Path(config.folder)
    try:
        record = read_sealed(source / "record.json")
    except (OSError, ValueError) as error:
        raise BadInput(f"{source}: cannot be adopted: {error}", "name a finished stage's folder") from None
    names = [name for name in record["files"] if name not in OWN]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BadInput(f"{source}: its record lists {name!r}, which is outside it", "adopt no such folder")
    for number, name in enumerate(names, start=1):
        _copy(source / name, context.folder / name, record["files"][name])
        context.progress(number, len(names), unit="file")
    # What was adopted twice keeps the record of where it was made.
    shutil.copyfile(source / (ORIGIN if ORIGIN in record["files"] else "record.json"), context.folder / ORIGIN)
    _refuse_held_out(source, context.folder, inputs["prompts"])
    return Outputs(metrics=record["metrics"])


def _copy(source: Path, target: Path, recorded: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        remedy = "make the stage again in its run with --redo (runtime.keep may have removed its weights)"
        raise BadInput(f"{source}: is missing, though its stage's record lists it", remedy) from None
    if target.stat().st_size != recorded["size"] or checksum(target) != recorded["sha256"]:
        raise BadInput(f"{source}: is not as its stage recorded it", "put it as it was, or --redo its stage in its run")


def _refuse_held_out(source: Path, adopted: Path, prompts: Path) -> None:
    """BadInput when a prompt to train on is one that this run evaluates with."""
    if not (adopted / "prompts.parquet").exists():
        return
    held_out = read_prompts(prompts / "held_out.parquet", may_be_empty=True)
    ids, texts = {prompt.id for prompt in held_out}, {normalised(prompt) for prompt in held_out}
    training = read_prompts(adopted / "prompts.parquet")
    both = [prompt.id for prompt in training if prompt.id in ids or normalised(prompt) in texts]
    if both:
        raise BadInput(
            f"{source}: {len(both)} of its {len(training)} training prompts are held out in this run: {both[0]} ...",
            "give this recipe the `prompts` and `seed` of the other run, so that both hold out the same",
        )
