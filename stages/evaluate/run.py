"""Evaluate a checkpoint on the recipe's suites: every answer and every score."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, RESULTS
from common.errors import BadInput, Interrupted
from common.files import read_sealed
from common.stage import Inputs, Outputs, StageContext
from evals.answer import Answer
from evals.config import SuiteConfig
from evals.corners import graded_prompts
from evals.figures import summaries
from evals.guarded import not_compared
from evals.parts import DEV, FINAL
from evals.protocol import ask, protocol, remarks
from evals.suites import load_suite
from prompts.schema import Prompt
from rewards.grader import Grader
from stages.answering import BATCHES, answering
from stages.evaluate.config import EvaluateStage
from stages.grading import open_grader

Loaded = list[tuple[SuiteConfig, list[Prompt]]]
"""Suites and their prompts."""


def run(config: EvaluateStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `results.json` and `answers.jsonl`. The stage's figures are those of the final parts,
    beside them those of the dev parts.

    A stopped evaluation starts again. It generates again only what the run does not remember
    (`evals/remembered.py`), and grades everything.
    """
    _require_names(config.suites)
    tell_of_what_was_not_compared(config, inputs, context)
    loaded = [(suite, load_suite(suite, inputs.get("prompts"))) for suite in config.suites]
    with open_grader(context) as grader:
        for suite, prompts in loaded:
            grader.prepare(graded_prompts(suite.name, prompts))
        answers = _answers(config, inputs["checkpoint"], loaded, grader, context)
    ANSWERS.write(context.folder, (one.to_json() for part in answers.values() for one in part))
    for suite in config.suites:
        for remark in remarks(suite, answers[suite.name], config.rollouts.max_model_len):
            context.note(remark)
    results = {
        suite.name: summaries(answers[suite.name], suite.header.agreement)
        for suite in config.suites
    }
    RESULTS.write(context.folder, {"suites": results, "protocol": protocol(config.suites)})
    metrics = {
        name: {**_figures(parts[FINAL]), DEV: _figures(parts[DEV])}
        for name, parts in results.items()
    }
    return Outputs(metrics=metrics, tokens_generated=_tokens(answers))


def tell_of_what_was_not_compared(
    config: EvaluateStage, inputs: Inputs, context: StageContext
) -> None:
    """Note suites that may ask what the run has trained on: their data was not installed when its
    prompts were gathered."""
    record = inputs["prompts"] / "record.json" if "prompts" in inputs else None
    if record is None or not record.is_file():
        return
    compared = read_sealed(record)["metrics"].get("contaminated_by_suite", {})
    packaged = [suite.name for suite in config.suites if suite.file is None]
    for name in not_compared(packaged, compared):
        context.note(
            f"{name}: the training prompts of this run were not compared with it, as its data was"
            " not installed then; run the prompts stage again with --redo prompts"
        )


def _answers(
    config: EvaluateStage,
    stage: Path,
    loaded: Loaded,
    grader: Grader,
    context: StageContext,
) -> dict[str, list[Answer]]:
    """Answers by suite."""
    with answering(config.rollouts, stage, context) as engine:
        asked = _reporter(context, loaded)
        batch = BATCHES * context.execution.max_num_seqs
        return {
            suite.name: ask(engine, suite, prompts, batch, asked, grader, context.seed)
            for suite, prompts in loaded
        }


def _require_names(suites: tuple[SuiteConfig, ...]) -> None:
    """BadInput where no suite is named, or one twice."""
    names = [suite.name for suite in suites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise BadInput(
            f"evaluate: suite {twice[0]} is named twice"
            if twice
            else "evaluate: no suite is named",
            "name each suite once under `suites`",
        )


def _reporter(context: StageContext, loaded: Loaded) -> Callable[[int], None]:
    """Takes the number of prompts of each batch and reports the progress over all suites.

    Raises Interrupted between two batches when a stop is requested.
    """
    total, done = sum(len(prompts) for _, prompts in loaded), 0

    def asked(count: int) -> None:
        nonlocal done
        done += count
        context.progress(done, total, unit="prompt")
        if done < total and context.stop_requested():
            raise Interrupted(
                "the evaluation was stopped", "run the same command again to continue"
            )

    return asked


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "by_capability"}


def _tokens(answers: dict[str, list[Answer]]) -> int:
    return sum(answer.tokens for part in answers.values() for answer in part)
