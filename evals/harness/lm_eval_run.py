"""Runs tasks of an installed lm-evaluation-harness on a model."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from common.errors import BadInput

PACKAGE, SETUP = "lm_eval", "make setup-lm-eval"


def require_lm_eval() -> None:
    """BadInput where the harness is not installed; does not import it."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise BadInput("lm-eval is not installed", SETUP)


def lm_eval_version() -> str:
    """The installed version. BadInput where there is none."""
    require_lm_eval()
    return version("lm_eval")


def load_tasks(tasks: Sequence[str], tasks_path: str | None) -> Any:
    """The harness's manager of tasks. BadInput for an unknown task, for one whose data is not on
    this machine, and for one that would run a model's code outside of a sandbox."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=tasks_path)
    unknown = [task for task in tasks if task not in manager.all_tasks]
    if unknown:
        raise BadInput(
            f"lm-eval has no task {', '.join(map(repr, unknown))}",
            "name one that `lm-eval ls tasks` lists, or give --tasks-path",
        )
    for task in tasks:
        _require_usable(task, manager)
    return manager


def _require_usable(task: str, manager: Any) -> None:
    from datasets.exceptions import DatasetNotFoundError

    try:
        loaded = manager.load([task])
    # An offline hub and a missing file are OSErrors (ConnectionError, FileNotFoundError).
    except (OSError, DatasetNotFoundError) as error:
        raise BadInput(
            f"{task}: its data cannot be read: {' '.join(str(error).split())[:300]}",
            "load the data into the cache of Hugging Face before, or let this command download it"
            " with HF_HUB_OFFLINE=0",
        ) from None
    unsafe = [name for name, one in loaded["tasks"].items() if getattr(one, "UNSAFE_CODE", False)]
    if unsafe:
        raise BadInput(
            f"{unsafe[0]} runs what the model writes, outside of a sandbox",
            "leave it out; the suites human_eval and mbpp run code in the sandbox",
        )


def run_tasks(
    model: Any,
    manager: Any,
    tasks: Sequence[str],
    limit: int | None,
    num_fewshot: int | None,
    apply_chat_template: bool,
) -> dict[str, Any]:
    """The harness's results with its samples, as plain JSON values."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.utils import handle_non_serializable

    results = simple_evaluate(
        model,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        num_fewshot=num_fewshot,
        apply_chat_template=apply_chat_template,
        log_samples=True,
        # Only metrics that are no means are resampled; the others have a formula.
        bootstrap_iters=1000,
    )
    plain: dict[str, Any] = json.loads(json.dumps(results, default=handle_non_serializable))
    return plain


def without_samples(results: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the harness's own results file; samples have files of their own."""
    return {name: value for name, value in results.items() if name != "samples"}
