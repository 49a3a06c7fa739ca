"""The rollouts of a step that has not been trained on yet, in a checkpoint: with one step ahead
they were sampled by a policy that exists no more, so they cannot be sampled again."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from common.files import read_json, write_json
from curriculum.requests import Shortage
from rollouts.interface import Rollout
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from stages.rl.passes import forward_passes

PENDING = "pending.json"
"""In a checkpoint: the next step's batch."""


def write_pending(checkpoint: Path, step: int, batch: StepBatch) -> None:
    """Write the batch that step `step` will train on. Floats keep every bit."""
    plain = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name != "passes"}
    groups = [asdict(group) for group in batch.rolled_out]
    short = {name: asdict(one) for name, one in batch.shortages.items()}
    places = {id(group): place for place, group in enumerate(batch.rolled_out)}
    trained = [places[id(group)] for group in batch.trained]
    changed = {"step": step, "rolled_out": groups, "trained": trained, "shortages": short}
    write_json(checkpoint / PENDING, plain | changed)


def read_pending(checkpoint: Path | None, rows: int) -> tuple[int, StepBatch] | None:
    """The step and its batch, in passes of at most `rows` sequences; None where a checkpoint has
    none."""
    if checkpoint is None or not (checkpoint / PENDING).exists():
        return None
    data = read_json(checkpoint / PENDING)
    groups = [_group(plain) for plain in data["rolled_out"]]
    trained = [groups[place] for place in data["trained"]]
    step = data.pop("step")
    short = {name: Shortage(**one) for name, one in data["shortages"].items()}
    built = {"rolled_out": groups, "trained": trained, "shortages": short}
    return step, StepBatch(**{**data, **built, "passes": forward_passes(trained, rows)})


def _group(plain: dict[str, Any]) -> Group:
    members = [
        Member(**{**member, "rollout": Rollout(**member["rollout"])}) for member in plain["members"]
    ]
    return Group(**{**plain, "members": members})
