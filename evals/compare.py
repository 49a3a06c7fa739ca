"""Compares checkpoints: the score on each suite, and its difference to the parent's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, RESULTS
from common.errors import BadInput
from common.files import read_json, read_json_lines
from evals.intervals import paired_difference
from evals.protocol import COUNTED


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation."""

    stage: str
    """Id of the stage whose checkpoint was evaluated, or `base`."""
    parent: str | None
    """Id of the stage that it was trained from; None for the starting model."""
    checkpoint: str
    """Name of the checkpoint in the table."""
    folder: Path
    """Contains `results.json` and `answers.jsonl`."""


def compare_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """One row per suite of each evaluation of a run; `held_out` has another one per capability.

    Keys: checkpoint, stage, suite, score, low, high, n, delta, delta_low, delta_high. Deltas are
    to the parent's score on the prompts that both answered, and None without such an evaluation.
    Raises BadInput on unreadable files."""
    by_stage = {evaluation.stage: evaluation for evaluation in evaluations}
    answers = {stage: _read_answers(evaluation.folder) for stage, evaluation in by_stage.items()}
    rows = []
    for evaluation in evaluations:
        before = answers.get(evaluation.parent) if evaluation.parent is not None else None
        for suite, result in _read_results(evaluation.folder).items():
            names = [(suite, result)]
            if suite == "held_out":
                names += [
                    (f"{suite}/{name}", part) for name, part in result["by_capability"].items()
                ]
            for name, part in names:
                delta, low, high = _delta(before, answers[evaluation.stage], name)
                rows.append(
                    {
                        "checkpoint": evaluation.checkpoint,
                        "stage": evaluation.stage,
                        "suite": name,
                        **{key: part[key] for key in ("score", "low", "high", "n")},
                        "delta": delta,
                        "delta_low": low,
                        "delta_high": high,
                    }
                )
    return rows


_Answers = dict[tuple[str, str], bool]
"""Whether the answer is correct, by (suite or suite/capability, prompt id)."""


def _delta(
    before: _Answers | None, after: _Answers, name: str
) -> tuple[float | None, float | None, float | None]:
    pairs = [
        (before[key], right)
        for key, right in after.items()
        if before is not None and key[0] == name and key in before
    ]
    if not pairs:
        return None, None, None
    return paired_difference(
        both=pairs.count((True, True)),
        gained=pairs.count((False, True)),
        lost=pairs.count((True, False)),
        neither=pairs.count((False, False)),
    )


def _read_results(folder: Path) -> dict[str, dict[str, Any]]:
    path = RESULTS.path(folder)
    try:
        suites: dict[str, dict[str, Any]] = read_json(path)["suites"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{path}: not a readable evaluation: {error}", "redo the evaluation"
        ) from error
    return suites


def _read_answers(folder: Path) -> _Answers:
    path = ANSWERS.path(folder)
    if not path.is_file():
        raise BadInput(f"{path}: no such file", "redo the evaluation")
    answers: _Answers = {}
    for row in read_json_lines(path):
        if row["fault"] in COUNTED:
            answers[row["suite"], row["id"]] = row["correct"]
            answers[f"{row['suite']}/{row['capability']}", row["id"]] = row["correct"]
    return answers
