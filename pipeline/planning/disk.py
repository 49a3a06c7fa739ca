"""Disk space of a run: predicted from the model's dimensions, and measured for existing folders."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from models.sizes import dimensions_of
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe

GIB = 2**30


def predicted_disk(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Stage id to the size of its weights when it is done (`kept_gib`) and its additional space
    while it runs (`at_work_gib`), in GiB. Empty if the model's dimensions are unknown."""
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
    """Largest space at any time in GiB, without pruning; None if the dimensions are unknown."""
    parts = predicted_disk(recipe).values()
    if not parts:
        return None
    return round(
        sum(part["kept_gib"] for part in parts) + max(part["at_work_gib"] for part in parts), 3
    )


def used_mib(folder: Path) -> float:
    """Size of all files below a folder, in MiB. A running stage may remove files meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += (Path(place) / name).stat().st_size
    return round(size / 2**20, 1)


def free_gib(place: Path) -> float:
    """Free space on the disk of `place`, which need not exist yet, in GiB."""
    parents = (place.absolute(), *place.absolute().parents)
    existing = next(path for path in parents if path.exists())
    return round(shutil.disk_usage(existing).free / GIB, 1)


def disk_line(space: dict[str, float | None]) -> str:
    """The disk space that a run needs, in words."""
    free = f"{space['free_gib']} GiB are free"
    if space["needed_gib"] is None:
        return f"disk: the size of the checkpoints is not known yet; {free}"
    return (
        f"disk: {space['needed_gib']} GiB at most, for weights and for the checkpoints from which a"
        f" killed stage resumes; {free}"
    )
