"""Take over what a finished stage of another run made: a copy of its files, each one proven, and of
its record.

From here on the stage is one of its own kind: who names it as an input reads its files as if they
were made here."""

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
"""Files of this stage's own attempt, which no adopted one may replace."""


def run(config: AdoptStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write the files that the record in `config.folder` lists, and `adopted.json`.

    Raises BadInput for a file that is not as recorded, and for training prompts that this run holds
    out."""
    source = Path(config.folder)
    try:
        # Read once: what is checked below is of the same execution as what is kept.
        ORIGIN.path(context.folder).write_bytes((source / RECORD).read_bytes())
        record = read_sealed(ORIGIN.path(context.folder))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{source}: cannot be adopted: {error}", "name a finished stage's folder"
        ) from None
    names = [name for name in record["files"] if name not in OWN]
    for number, name in enumerate(names, start=1):
        if context.stop_requested():
            raise Interrupted(
                "adopting was stopped", "the same command adopts the stage from its start"
            )
        _copy(
            source / _inside(name, source), context.folder / _kept_as(name), record["files"][name]
        )
        context.progress(number, len(names), unit="file")
    _refuse_held_out(source, context.folder, inputs["prompts"])
    return Outputs(metrics=record["metrics"])


def _inside(name: str, source: Path) -> str:
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
            "adopt no such folder",
        )
    return name


def _kept_as(name: str) -> str:
    """What was adopted there already brings the record of where it was made along."""
    return f"from-{name}" if name.endswith(ORIGIN.file) and "/" not in name else name


def _copy(source: Path, target: Path, recorded: Mapping[str, Any]) -> None:
    if not source.is_file():
        remedy = (
            "make the stage again in its run with --redo (runtime.keep may have removed its"
            " weights)"
        )
        raise BadInput(f"{source}: is missing, though its stage's record lists it", remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as theirs, target.open("wb") as ours:
        shutil.copyfileobj(theirs, ours, 1 << 20)
    if target.stat().st_size != recorded["size"] or checksum(target) != recorded["sha256"]:
        raise BadInput(
            f"{source}: is not as its stage recorded it",
            "put it as it was, or --redo its stage in its run",
        )


def _refuse_held_out(source: Path, adopted: Path, prompts: Path) -> None:
    """BadInput when a prompt to train on is one that this run evaluates with."""
    if not PROMPTS.path(adopted).exists():
        return
    held_out = read_prompts(HELD_OUT.path(prompts), may_be_empty=True)
    ids, texts = {prompt.id for prompt in held_out}, {normalised(prompt) for prompt in held_out}
    training = read_prompts(PROMPTS.path(adopted))
    both = [prompt.named for prompt in training if prompt.id in ids or normalised(prompt) in texts]
    if both:
        raise BadInput(
            f"{source}: {len(both)} of its {len(training)} training prompts are held out in this"
            f" run: {both[0]} ...",
            "give this recipe the `prompts` and `seed` of the other run, so that both hold out the"
            " same",
        )
