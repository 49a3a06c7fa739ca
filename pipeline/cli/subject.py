"""What `uphill eval` evaluates: a checkpoint folder, the checkpoint of a run's stage, or one of a
stage that still trains; and the evaluation of it as a process and a folder of its own."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common.artifacts import CHECKPOINT
from common.errors import BadInput
from common.fingerprint import differences, fingerprint
from common.seeds import derive
from models.context import context_in
from pipeline.execution.attempt import Attempt
from pipeline.execution.gpus import notice
from pipeline.execution.midway import Midway, find_midway, is_midway, written
from pipeline.execution.progress import Reporter
from pipeline.execution.run_folder import find_checkpoint, is_checkpoint
from pipeline.execution.signals import Signals
from pipeline.execution.stage_process import run_attempt, settings
from pipeline.execution.state import inspect, partial_of, what_changed
from pipeline.planning.identity import identity_of
from pipeline.planning.plan import EVALUATION_SEED, EVALUATIONS, Node, Plan, make_node
from pipeline.recipe.declared import execution_of
from pipeline.recipe.schema import RuntimeConfig
from pipeline.recipe.user_files import content_checksum, kept_checksums, model_problem
from pipeline.store.lock import owned
from pipeline.store.record import read_record, record_checksum, verify
from rollouts.config import RolloutConfig
from stages.declaration import PROMPTS_STAGE, StageConfig


@dataclass(frozen=True)
class Subject:
    """A checkpoint to evaluate, and the prompts stage that `held_out` is read from."""

    name: str
    """`RUN:STAGE`, or the checkpoint's folder."""
    inputs: Mapping[str, Path]
    """Input name to folder: `checkpoint`, and `prompts` for a stage of a run."""
    made_from: Mapping[str, Mapping[str, str]]
    """Input name to what identifies its content."""
    seed: int
    rollouts: RolloutConfig
    settings: Mapping[str, Any]
    """Settings of the stage's process."""
    runtime: Mapping[str, Any]
    """The run's `runtime`; empty for a checkpoint folder."""
    default_out: Path
    """The folder of the results if `--out` is not given."""
    bare: bool = False
    """Whether it is a checkpoint folder outside any run."""
    midway: Midway | None = None
    """The checkpoint of an unfinished stage, which is written for the evaluation."""


def subject_of(
    name: str,
    labels: Sequence[str],
    runs_dir: Path,
    reporter: Reporter,
    max_model_len: int | None = None,
) -> Subject:
    """The checkpoint that a command names: a folder, `RUN[:STAGE]` or `RUN:STAGE@STEP`.

    `labels` are what the default folder of the results is named after. `max_model_len` overrides
    the run's own; an evaluation at another length is a different one. BadInput where it exceeds
    the model's context."""
    path = Path(name)
    if is_checkpoint(path):
        subject = _bare(path, labels, runs_dir, reporter)
    elif is_midway(name):
        subject = _midway(name, labels, runs_dir)
    else:
        subject = _of_run(name, labels, runs_dir)
    if max_model_len is not None and max_model_len != subject.rollouts.max_model_len:
        subject = _at_length(subject, max_model_len)
    _require_context(subject)
    return subject


def carry_out(subject: Subject, config: StageConfig, folder: Path, reporter: Reporter) -> None:
    """Evaluate the subject into `folder`, unless this evaluation is finished there. BadInput if the
    folder contains anything else."""
    node = _node(subject, config, folder)
    if _is_finished(node, folder):
        return
    if message := notice(os.environ):
        reporter.line(message)
    with (
        owned(partial_of(folder)),
        Signals() as signals,
        _as_stage_output(subject) as inputs,
    ):
        attempt = Attempt(
            node, folder, inputs, subject.made_from, subject.settings, datetime.now(UTC)
        )
        run_attempt(attempt, f"evaluation of {subject.name}", signals, reporter)


def _at_length(subject: Subject, length: int) -> Subject:
    rollouts = RolloutConfig.model_validate(
        {**subject.rollouts.model_dump(), "max_model_len": length}
    )
    out = subject.default_out.with_name(f"{subject.default_out.name}+max_model_len={length}")
    return replace(subject, rollouts=rollouts, default_out=out)


def _require_context(subject: Subject) -> None:
    """BadInput where the engine's length exceeds the model's context."""
    checkpoint, length = subject.inputs["checkpoint"], subject.rollouts.max_model_len
    plain = subject.bare or subject.midway
    folder = checkpoint if plain else CHECKPOINT.path(checkpoint)
    context = context_in(str(folder))
    if context is not None and length > context:
        message = (
            f"max_model_len {length:,} is longer than the context of {folder}, {context:,} tokens"
        )
        raise BadInput(message, f"give --max-model-len {context} or less")


def _midway(name: str, labels: Sequence[str], runs_dir: Path) -> Subject:
    """A checkpoint of an unfinished stage."""
    midway = find_midway(name, runs_dir)
    subject = _of_stages(name, midway.run, midway.plan, midway.name, {}, labels)
    return replace(
        subject,
        inputs={"checkpoint": midway.start, **subject.inputs},
        made_from={"checkpoint": midway.made_from(), **subject.made_from},
        midway=midway,
    )


def _of_run(name: str, labels: Sequence[str], runs_dir: Path) -> Subject:
    """The checkpoint of a run's stage."""
    found = find_checkpoint(name, runs_dir)
    inputs = {"checkpoint": found.node.id}
    return _of_stages(name, found.run, found.plan, found.node.id, inputs, labels)


def _of_stages(
    name: str,
    run: Path,
    plan: Plan,
    subject: str,
    inputs: Mapping[str, str],
    labels: Sequence[str],
) -> Subject:
    """What is evaluated as `subject`, with the finished stages `inputs` and the prompts."""
    states = inspect(plan, run)
    stages = {**inputs, "prompts": PROMPTS_STAGE}
    if states[PROMPTS_STAGE].state != "done":
        raise BadInput(
            f"{name}: the stage {PROMPTS_STAGE!r} is {states[PROMPTS_STAGE].state}",
            "run the recipe first",
        )
    for stage in stages.values():
        verify(states[stage].folder, stage, whole=True)
    made_from = {
        key: {"stage": stage, "record": record_checksum(states[stage].folder)}
        for key, stage in stages.items()
    }
    return Subject(
        name=f"{plan.name}:{subject}",
        inputs={key: states[stage].folder for key, stage in stages.items()},
        made_from=made_from,
        seed=plan.evaluate["seed"],
        rollouts=RolloutConfig.model_validate(plan.evaluate["rollouts"]),
        settings=settings(plan, run / EVALUATIONS),
        runtime=plan.runtime,
        default_out=run / EVALUATIONS / "+".join([subject, *labels]),
    )


def _bare(folder: Path, labels: Sequence[str], runs_dir: Path, reporter: Reporter) -> Subject:
    """A checkpoint folder outside any run."""
    if problem := model_problem(folder):
        raise BadInput(*problem)
    inputs = {"checkpoint": folder.resolve()}
    name = folder.resolve().name
    sums = kept_checksums()
    made_from = {"checkpoint": {"content": content_checksum(folder, sums.of)}}
    reporter.lines(sums.remarks())
    out = runs_dir / EVALUATIONS / "+".join([name, *labels])
    return Subject(
        str(folder),
        inputs,
        made_from,
        derive(0, EVALUATION_SEED),
        RolloutConfig(),
        settings(Plan(name, ()), runs_dir / EVALUATIONS),
        {},
        out,
        bare=True,
    )


def _node(subject: Subject, config: StageConfig, folder: Path) -> Node:
    # Its inputs are not nodes of a plan; `made_from` identifies them.
    identity = identity_of(config, subject.seed)
    runtime = RuntimeConfig.model_validate(subject.runtime)
    node = make_node(
        config, subject.seed, None, folder.name, execution=execution_of(runtime, config)
    )
    made_from = {**identity, "inputs": subject.made_from}
    return replace(node, inputs={}, fingerprint=fingerprint(made_from))


@contextmanager
def _as_stage_output(subject: Subject) -> Iterator[Mapping[str, Path]]:
    """The inputs as a stage expects them: a checkpoint is the subfolder `checkpoint` of a stage's
    folder."""
    if subject.midway is not None:
        with written(subject.midway) as folder:
            yield {**subject.inputs, "checkpoint": folder}
        return
    if not subject.bare:
        yield subject.inputs
        return
    with TemporaryDirectory(prefix="uphill-") as place:
        (Path(place) / "checkpoint").symlink_to(subject.inputs["checkpoint"])
        yield {"checkpoint": Path(place)}


def _is_finished(node: Node, folder: Path) -> bool:
    """Whether the folder contains this evaluation. BadInput if it contains anything else."""
    if not folder.exists():
        return False
    record = read_record(folder)
    if record is not None and record["fingerprint"] == node.fingerprint:
        return True
    changes = differences(record["identity"], dict(node.identity)) if record else []
    details = f": it {what_changed(changes)}" if changes else ""
    what = f"contains something else{details}"
    raise BadInput(f"{folder}: already exists and {what}", "name another folder with --out")
