"""Evaluate a checkpoint by tasks of lm-evaluation-harness, through the rollout engine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT, HARNESS_RESULTS, RESULTS
from common.errors import Interrupted
from common.files import write_json_lines
from common.stage import Inputs, Outputs, StageContext
from evals.harness.lm_eval_run import load_tasks, require_lm_eval, run_tasks, without_samples
from evals.harness.lm_eval_scores import suites_of
from evals.harness.requests import Requests
from evals.parts import FINAL
from stages.answering import BATCHES, answering
from stages.harness.config import HarnessStage


def run(config: HarnessStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `lm_eval_results.json` and `samples_<task>.jsonl` as the harness has them, and the
    scores in the form of our suites' (`results.json`)."""
    require_lm_eval()
    # Where a person allows the hub, the harness may download; a worker's default is offline.
    os.environ.setdefault("HF_DATASETS_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
    manager = load_tasks(config.tasks, config.tasks_path)
    results = _results(config, inputs["checkpoint"], manager, context)
    for task, samples in results["samples"].items():
        write_json_lines(context.folder / f"samples_{task.replace('/', '__')}.jsonl", samples)
    HARNESS_RESULTS.write(context.folder, without_samples(results))
    suites = suites_of(results)
    RESULTS.write(context.folder, {"suites": suites, "protocol": _protocol(config)})
    figures = {name: parts[FINAL] for name, parts in suites.items()}
    names = ("score", "low", "high", "n")
    return Outputs({suite: {key: one[key] for key in names} for suite, one in figures.items()})


def _results(
    config: HarnessStage, stage: Path, manager: Any, context: StageContext
) -> dict[str, Any]:
    from evals.harness.lm_eval_model import EngineLM
    from models.checkpoint import load_tokenizer

    tokenizer: Any = load_tokenizer(CHECKPOINT.path(stage))

    def decode(tokens: list[int]) -> str:
        text: str = tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    with answering(config.rollouts, stage, context) as engine:
        batch = BATCHES * context.execution.max_num_seqs
        requests = Requests(engine, decode, batch, _reporter(context))
        results = run_tasks(
            EngineLM(requests, tokenizer),
            manager,
            config.tasks,
            config.limit,
            config.num_fewshot,
            config.apply_chat_template,
        )
    if requests.shortened:
        context.note(
            f"{requests.shortened} of {requests.total} requests did not fit max_model_len"
            f" ({config.rollouts.max_model_len}) and lost their beginning; raise it with"
            " --max-model-len"
        )
    return results


def _reporter(context: StageContext) -> Callable[[int], None]:
    """Counts requests; their number is known only to the harness."""
    done = 0

    def asked(count: int) -> None:
        nonlocal done
        done += count
        context.progress(done, done, unit="request")
        if context.stop_requested():
            raise Interrupted(
                "the evaluation was stopped", "run the same command again to continue"
            )

    return asked


def _protocol(config: HarnessStage) -> dict[str, Any]:
    return {
        "harness": f"lm-eval {config.lm_eval}",
        "tasks": list(config.tasks),
        "limit": config.limit,
        "num_fewshot": config.num_fewshot,
        "apply_chat_template": config.apply_chat_template,
        "interval": "95 %: Wilson where each sample is right or wrong, else by lm-eval's stderr",
    }
