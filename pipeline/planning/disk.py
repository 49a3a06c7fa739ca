"""How much disk a run takes: foretold from the model's dimensions, and counted where it is
there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from models.sizes import Dimensions, dimensions_of, total, trainable_parameters
from pipeline.recipe.schema import Recipe
from pipeline.store.adopted import adopted_record
from stages.adopt.config import AdoptStage
from stages.reference import BASE
from training.config import TrainingStage

FLOAT32, GIB = 4, 2**30
MOMENTS = 2
"""AdamW's, per weight that trains."""
CHECKPOINTS = 3
"""In a stage that trains: two, and the next before the oldest goes (`training/fit.py`)."""


def predicted(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Node id to GiB that its weights take when it is done (`kept_gib`), and that it takes besides
    while it trains (`at_work_gib`). Only where the model's dimensions are known."""
    policy = dimensions_of(recipe.model)
    if policy is None:
        return {}
    weights = round(total(policy) * FLOAT32 / GIB, 3)
    found = {BASE: {"kept_gib": weights, "at_work_gib": 0.0}}
    for stage in recipe.stages:
        if isinstance(stage, AdoptStage):
            found[stage.id] = {"kept_gib": _adopted(stage), "at_work_gib": 0.0}
        elif isinstance(stage, TrainingStage):
            found[stage.id] = {
                "kept_gib": weights,
                "at_work_gib": round(_at_work(stage, policy) / GIB, 3),
            }
    return found


def _adopted(stage: AdoptStage) -> float:
    record = adopted_record(stage) or {"files": {}}
    return round(sum(file["size"] for file in record["files"].values()) / GIB, 3)


def _at_work(stage: TrainingStage, policy: Dimensions) -> int:
    """Bytes of the checkpoints that a killed stage goes on from. Of adapters only they are saved,
    not the model."""
    moving = trainable_parameters(policy, stage.train, stage.lora)
    saved = moving if stage.train == "lora" else total(policy)
    return CHECKPOINTS * FLOAT32 * (saved + MOMENTS * moving)


def needed(recipe: Recipe) -> float | None:
    """GiB at the most at any time, nothing pruned; None where the dimensions are not known."""
    parts = predicted(recipe).values()
    if not parts:
        return None
    return round(
        sum(part["kept_gib"] for part in parts) + max(part["at_work_gib"] for part in parts), 3
    )


def used_mib(folder: Path) -> float:
    """What lies below a folder, in MiB. A stage at work there may remove files meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += (Path(place) / name).stat().st_size
    return round(size / 2**20, 1)


def free_gib(place: Path) -> float:
    """Free space where `place` is or will be, in GiB."""
    there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    return round(shutil.disk_usage(there).free / GIB, 1)


def disk_line(space: dict[str, float | None]) -> str:
    """The disk that a run needs, for people."""
    free = f"{space['free_gib']} GiB are free"
    if space["needed_gib"] is None:
        return f"disk: what the checkpoints take is not known yet; {free}"
    return (
        f"disk: {space['needed_gib']} GiB at most, for weights and for what a killed stage goes on"
        f" from; {free}"
    )
