"""Compares checkpoints: the score on the final part of each suite, and its difference to the
parent's. The dev score, which gates read, stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS
from common.errors import BadInput
from common.files import read_json_lines
from evals.intervals import paired_difference
from evals.parts import DEV, FINAL, part_of, read_results
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

    Keys: checkpoint, stage, suite, score, low, high, n, delta, delta_low, delta_high, all of the
    final part, and `dev` with score, low, high and n of the dev part. Deltas are to the parent's
    score on the prompts that both answered, and None without such an evaluation. Raises BadInput
    on unreadable files, and on evaluations from before suites had parts."""
    by_stage = {evaluation.stage: evaluation for evaluation in evaluations}
    answers = {stage: _read_answers(evaluation.folder) for stage, evaluation in by_stage.items()}
    rows = []
    for evaluation in evaluations:
        before = answers.get(evaluation.parent) if evaluation.parent is not None else None
        for suite, parts in read_results(evaluation.folder).items():
            final, dev = _named(suite, parts[FINAL]), _named(suite, parts[DEV])
            for name, part in final.items():
                delta, low, high = _delta(before, answers[evaluation.stage], name)
                rows.append(
                    {
                        "checkpoint": evaluation.checkpoint,
                        "stage": evaluation.stage,
                        "suite": name,
                        **_figures(part),
                        "delta": delta,
                        "delta_low": low,
                        "delta_high": high,
                        DEV: _figures(dev[name]),
                    }
                )
    return rows


def _named(suite: str, part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The figures of a suite's part; of `held_out` also those of each capability."""
    own = part["by_capability"] if suite == "held_out" else {}
    return {suite: part, **{f"{suite}/{name}": figures for name, figures in own.items()}}


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("score", "low", "high", "n")}


_Answers = dict[tuple[str, str], bool]
"""Whether an answer of the final part is correct, by (suite or suite/capability, prompt id)."""


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


def _read_answers(folder: Path) -> _Answers:
    path = ANSWERS.path(folder)
    if not path.is_file():
        raise BadInput(f"{path}: no such file", "redo the evaluation")
    answers: _Answers = {}
    for row in read_json_lines(path):
        if row["fault"] in COUNTED and part_of(row["id"]) == FINAL:
            answers[row["suite"], row["id"]] = row["correct"]
            answers[f"{row['suite']}/{row['capability']}", row["id"]] = row["correct"]
    return answers
