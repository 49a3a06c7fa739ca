"""`uphill eval --lm-eval`: tasks of an installed lm-evaluation-harness on any checkpoint, through
the rollout engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.artifacts import RESULTS
from common.errors import BadInput
from evals.harness.lm_eval_run import lm_eval_version
from pipeline.cli.subject import carry_out, subject_of
from pipeline.execution.progress import Reporter
from pipeline.planning.plan import EVALUATION_SEED
from pipeline.recipe.user_files import content_checksum
from stages.harness.config import HarnessStage

LONGEST_NAME = 150
"""Characters of a default folder's name."""


def evaluate_by_tasks(
    name: str,
    tasks: Sequence[str],
    runs_dir: Path,
    out: Path | None,
    reporter: Reporter,
    max_model_len: int | None = None,
    *,
    limit: int | None = None,
    num_fewshot: int | None = None,
    apply_chat_template: bool = False,
    tasks_path: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint by tasks; return the document of `eval --json`. BadInput where lm-eval
    is not installed. An evaluation that is already finished in `out` is not repeated."""
    version = lm_eval_version()
    _require_tasks(tasks, tasks_path)
    settings: dict[str, Any] = {
        "tasks": tuple(tasks),
        "limit": limit,
        "num_fewshot": num_fewshot,
        "apply_chat_template": apply_chat_template,
        "tasks_path": None if tasks_path is None else str(tasks_path.resolve()),
        "tasks_content": "" if tasks_path is None else content_checksum(tasks_path),
    }
    labels = ["lm-eval", *(task.replace("/", "__") for task in tasks)]
    if limit is not None:
        labels.append(f"limit={limit}")
    subject = subject_of(name, labels, runs_dir, reporter, max_model_len)
    config = HarnessStage(
        id=EVALUATION_SEED,
        of="checkpoint",
        lm_eval=version,
        rollouts=subject.rollouts,
        **settings,
    )
    default = subject.default_out
    folder = out or default.with_name(default.name[:LONGEST_NAME])
    carry_out(subject, config, folder, reporter)
    return {"checkpoint": subject.name, "path": str(folder), **RESULTS.read(folder)}


def _require_tasks(tasks: Sequence[str], tasks_path: Path | None) -> None:
    """BadInput for an empty name, one that is named twice, and a folder that is not there."""
    if not all(tasks) or len(set(tasks)) != len(tasks):
        raise BadInput(
            f"--lm-eval: a task is empty or named twice in {','.join(tasks)!r}", "name each once"
        )
    if tasks_path is not None and not tasks_path.is_dir():
        raise BadInput(f"--tasks-path: {tasks_path}: no such folder", "name a folder of tasks")
