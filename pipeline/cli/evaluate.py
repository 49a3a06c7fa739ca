"""`uphill eval`: evaluates any checkpoint on suites, apart from a recipe's own evaluations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import RESULTS
from common.config import InvalidValue
from common.errors import BadInput
from evals.config import SuiteConfig, require_file
from evals.parts import FINAL
from evals.suite_file import HELD_OUT_SUITE, is_suite_path, suite_header, suite_name
from pipeline.cli.compare import score_text, suite_text
from pipeline.cli.subject import carry_out, subject_of
from pipeline.execution.progress import Reporter
from pipeline.planning.plan import EVALUATION_SEED
from pipeline.recipe.limits import no_room
from stages.evaluate.config import EvaluateStage


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
    """
    suites = [str(Path(one).resolve()) if is_suite_path(one) else one for one in suites]
    _require_suites(suites)
    labels = list(map(suite_name, suites))
    subject = subject_of(name, labels, runs_dir, reporter, max_model_len)
    if subject.bare and HELD_OUT_SUITE in suites:
        message = f"{name}: held_out prompts belong to a run, and this is a checkpoint folder"
        raise BadInput(message, "name RUN:STAGE, or leave the suite out")
    _require_room(suites, subject.rollouts.max_model_len)
    config = EvaluateStage(
        id=EVALUATION_SEED,
        of="checkpoint",
        suites=tuple(SuiteConfig.model_validate(suite) for suite in suites),
        rollouts=subject.rollouts,
    )
    folder = out or subject.default_out
    carry_out(subject, config, folder, reporter)
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


def _require_room(suites: Sequence[str], length: int) -> None:
    """BadInput when a suite's answers leave no room for a prompt."""
    for suite in suites:
        answer = SuiteConfig.model_validate(suite).answer_length()
        if answer >= length:
            raise BadInput(
                no_room(suite_name(suite), answer, length), f"give a --max-model-len above {answer}"
            )


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
