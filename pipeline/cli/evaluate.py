"""`uphill eval`: evaluates any checkpoint on suites, apart from a recipe's own evaluations."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common.artifacts import CHECKPOINT, RESULTS
from common.config import InvalidValue
from common.errors import BadInput
from common.fingerprint import differences, fingerprint
from common.seeds import derive
from evals.config import SuiteConfig, require_file
from evals.parts import FINAL
from evals.suite_file import HELD_OUT_SUITE, is_suite_path, suite_header, suite_name
from models.context import context_in
from pipeline.cli.compare import score_text, suite_text
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
from pipeline.recipe.limits import no_room
from pipeline.recipe.schema import RuntimeConfig
from pipeline.recipe.user_files import content_checksum, kept_checksums, model_problem
from pipeline.store.lock import owned
from pipeline.store.record import read_record, record_checksum, verify
from rollouts.config import RolloutConfig
from stages.declaration import PROMPTS_STAGE
from stages.evaluate.config import EvaluateStage


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
    midway: Midway | None = None
    """The checkpoint of an unfinished stage, which is written for the evaluation."""


def evaluate(
    name: str,
    suites: Sequence[str],
    runs_dir: Path,
    out: Path | None,
    reporter: Reporter,
    max_model_len: int | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint folder, `RUN[:STAGE]` or `RUN:STAGE@STEP`; return the document of
    `eval --json`.

    The results are written to `out`. An evaluation that is already finished there is not repeated.
    `max_model_len` overrides the run's own; an evaluation at another length is a different one."""
    suites = [str(Path(one).resolve()) if is_suite_path(one) else one for one in suites]
    _require_suites(suites)
    path = Path(name)
    bare = is_checkpoint(path)
    if not bare and is_midway(name):
        subject = _midway(name, suites, runs_dir)
    else:
        subject = (
            _bare(path, suites, runs_dir, reporter) if bare else _of_run(name, suites, runs_dir)
        )
    if max_model_len is not None and max_model_len != subject.rollouts.max_model_len:
        subject = _at_length(subject, max_model_len)
    checkpoint = subject.inputs["checkpoint"]
    context = checkpoint if bare or subject.midway else CHECKPOINT.path(checkpoint)
    _require_room(suites, subject.rollouts.max_model_len, context)
    folder = out or subject.default_out
    node = _node(subject, suites, folder)
    if not _is_finished(node, folder):
        if message := notice(os.environ):
            reporter.line(message)
        with (
            owned(partial_of(folder)),
            Signals() as signals,
            _as_stage_output(subject, bare) as inputs,
        ):
            attempt = Attempt(
                node, folder, inputs, subject.made_from, subject.settings, datetime.now(UTC)
            )
            run_attempt(attempt, f"evaluation of {subject.name}", signals, reporter)
    return {"checkpoint": subject.name, "path": str(folder), **RESULTS.read(folder)}


def _require_suites(suites: Sequence[str]) -> None:
    """BadInput for an unknown suite or a wrong file, and for one that is named twice."""
    for suite in suites:
        name = suite_name(suite)
        try:
            require_file(name, suite if is_suite_path(suite) else None)
        except InvalidValue as error:
            raise BadInput(f"--suite: {error}", error.remedy) from None
        suite_header(name, suite if is_suite_path(suite) else None)
    names = list(map(suite_name, suites))
    if len(set(names)) != len(names):
        raise BadInput(f"--suite: a suite is named twice in {','.join(names)}", "name it once")


def _at_length(subject: Subject, length: int) -> Subject:
    rollouts = RolloutConfig.model_validate(
        {**subject.rollouts.model_dump(), "max_model_len": length}
    )
    out = subject.default_out.with_name(f"{subject.default_out.name}+max_model_len={length}")
    return replace(subject, rollouts=rollouts, default_out=out)


def _require_room(suites: Sequence[str], length: int, checkpoint: Path) -> None:
    """BadInput when `length` exceeds the model's context, or when a suite's answers leave no room
    for a prompt."""
    context = context_in(str(checkpoint))
    if context is not None and length > context:
        message = (
            f"max_model_len {length:,} is longer than the context of {checkpoint}, {context:,}"
            " tokens"
        )
        raise BadInput(message, f"give --max-model-len {context} or less")
    for suite in suites:
        answer = SuiteConfig.model_validate(suite).answer_length()
        if answer >= length:
            raise BadInput(
                no_room(suite_name(suite), answer, length), f"give a --max-model-len above {answer}"
            )


def _midway(name: str, suites: Sequence[str], runs_dir: Path) -> Subject:
    """A checkpoint of an unfinished stage."""
    midway = find_midway(name, runs_dir)
    subject = _of_stages(name, midway.run, midway.plan, midway.name, {}, suites)
    return replace(
        subject,
        inputs={"checkpoint": midway.start, **subject.inputs},
        made_from={"checkpoint": midway.made_from(), **subject.made_from},
        midway=midway,
    )


def _of_run(name: str, suites: Sequence[str], runs_dir: Path) -> Subject:
    """The checkpoint of a run's stage."""
    found = find_checkpoint(name, runs_dir)
    inputs = {"checkpoint": found.node.id}
    return _of_stages(name, found.run, found.plan, found.node.id, inputs, suites)


def _of_stages(
    name: str,
    run: Path,
    plan: Plan,
    subject: str,
    inputs: Mapping[str, str],
    suites: Sequence[str],
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
        default_out=run / EVALUATIONS / "+".join([subject, *map(suite_name, suites)]),
    )


def _bare(folder: Path, suites: Sequence[str], runs_dir: Path, reporter: Reporter) -> Subject:
    """A checkpoint folder outside any run."""
    if problem := model_problem(folder):
        raise BadInput(*problem)
    if HELD_OUT_SUITE in suites:
        message = f"{folder}: held_out prompts belong to a run, and this is a checkpoint folder"
        raise BadInput(message, "name RUN:STAGE, or leave the suite out")
    inputs = {"checkpoint": folder.resolve()}
    name = folder.resolve().name
    sums = kept_checksums()
    made_from = {"checkpoint": {"content": content_checksum(folder, sums.of)}}
    reporter.lines(sums.remarks())
    out = runs_dir / EVALUATIONS / "+".join([name, *map(suite_name, suites)])
    return Subject(
        str(folder),
        inputs,
        made_from,
        derive(0, EVALUATION_SEED),
        RolloutConfig(),
        settings(Plan(name, ()), runs_dir / EVALUATIONS),
        {},
        out,
    )


def _node(subject: Subject, suites: Sequence[str], folder: Path) -> Node:
    config = EvaluateStage(
        id=EVALUATION_SEED,
        of="checkpoint",
        suites=tuple(SuiteConfig.model_validate(suite) for suite in suites),
        rollouts=subject.rollouts,
    )
    # Its inputs are not nodes of a plan; `made_from` identifies them.
    identity = identity_of(config, subject.seed)
    runtime = RuntimeConfig.model_validate(subject.runtime)
    node = make_node(
        config, subject.seed, None, folder.name, execution=execution_of(runtime, config)
    )
    made_from = {**identity, "inputs": subject.made_from}
    return replace(node, inputs={}, fingerprint=fingerprint(made_from))


@contextmanager
def _as_stage_output(subject: Subject, bare: bool) -> Iterator[Mapping[str, Path]]:
    """The inputs as a stage expects them: a checkpoint is the subfolder `checkpoint` of a stage's
    folder."""
    if subject.midway is not None:
        with written(subject.midway) as folder:
            yield {**subject.inputs, "checkpoint": folder}
        return
    if not bare:
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


def results_table(results: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the printed table, the header first; scores in per cent, of the final parts, and
    the rates of corner cases."""
    from evals.figures import shown_parts

    rows = [["suite (%)", "n", "score"]]
    for name, parts in results["suites"].items():
        rows += [
            [suite_text(label, one), str(one["n"]), score_text(one)]
            for label, one in shown_parts(name, parts[FINAL]).items()
        ]
    return rows
