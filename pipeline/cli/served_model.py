"""The checkpoint that a command serves: a stage of a run, proven byte for byte, or a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInput
from models.context import context_in
from pipeline.execution.run_folder import find_checkpoint, is_checkpoint
from pipeline.recipe.user_files import model_problem
from pipeline.store.record import verify
from rollouts.config import RolloutConfig

LONGEST = 4096
"""Tokens of a conversation if nothing else is said, or fewer where the model's context ends
before."""


@dataclass(frozen=True)
class ServedModel:
    """A checkpoint to serve."""

    name: str
    """`<run>-<stage>`, or the folder's name."""
    folder: Path
    rollouts: RolloutConfig
    """The arithmetic of the run's evaluations, and the longest conversation."""
    run: str = ""
    """The run as it was named; empty for a folder."""


def served_model(name: str, runs_dir: Path, max_model_len: int | None) -> ServedModel:
    """The checkpoint folder or `RUN[:STAGE]` of this name. BadInput where there is none, or
    `max_model_len` is above the model's context; RunFailed where a byte of a stage has changed."""
    model = _folder(Path(name)) if is_checkpoint(Path(name)) else _of_run(name, runs_dir)
    context = context_in(str(model.folder))
    if max_model_len is not None and context is not None and max_model_len > context:
        message = f"--max-model-len {max_model_len:,} is above the context of {name}, {context:,}"
        raise BadInput(f"{message} tokens", f"give {context} or less")
    length = max_model_len or min(context or LONGEST, LONGEST)
    rollouts = RolloutConfig(dtype=model.rollouts.dtype, max_model_len=length)
    return replace(model, rollouts=rollouts)


def compared_model(
    other: str, model: ServedModel, runs_dir: Path, max_model_len: int | None
) -> ServedModel:
    """The checkpoint that `--compare` names: a folder, `RUN:STAGE`, or a stage of the same run."""
    if model.run and ":" not in other and not is_checkpoint(Path(other)):
        other = f"{model.run}:{other}"
    return served_model(other, runs_dir, max_model_len)


def _folder(folder: Path) -> ServedModel:
    if problem := model_problem(folder):
        raise BadInput(*problem)
    return ServedModel(folder.resolve().name, folder.resolve(), RolloutConfig())


def _of_run(name: str, runs_dir: Path) -> ServedModel:
    checkpoint = find_checkpoint(name, runs_dir)
    plan, stage = checkpoint.plan, checkpoint.node.id
    verify(checkpoint.state.folder, stage, whole=True)
    return ServedModel(
        name=f"{plan.name}-{stage}",
        folder=checkpoint.folder.resolve(),
        rollouts=RolloutConfig.model_validate(plan.evaluate.get("rollouts") or {}),
        run=str(checkpoint.run),
    )
