"""How much disk a run takes: predicted from the model's dimensions, and counted where it is
there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from models.sizes import dimensions_of
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe

GIB = 2**30


def predicted_disk(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Stage id to GiB that its weights take when it is done (`kept_gib`), and that it takes besides
    while it runs (`at_work_gib`). Only where the model's dimensions are known."""
    policy = dimensions_of(recipe.model)
    if policy is None:
        return {}
    by_stage = {stage.config.id: stage.config.disk(policy) for stage in declared(recipe)}
    return {
        id: {"kept_gib": round(disk.kept / GIB, 3), "at_work_gib": round(disk.at_work / GIB, 3)}
        for id, disk in by_stage.items()
        if disk is not None
    }


def needed(recipe: Recipe) -> float | None:
    """GiB at the most at any time, nothing pruned; None where the dimensions are not known."""
    parts = predicted_disk(recipe).values()
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
