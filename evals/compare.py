"""Compares checkpoints: the score on the final part of each suite, and its difference to the
parent's. The dev score, which gates read, stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS
from common.errors import BadInput
from common.files import stream_json_lines
from evals.answer import counts, unit_of
from evals.intervals import paired_difference
from evals.paired import LEVEL, detectable, holm, mcnemar
from evals.parts import DEV, FINAL, part_of, read_results
from evals.suite_file import CORNER_CASES, HELD_OUT_SUITE


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
    """One row per suite of each evaluation of a run; `held_out` has another one per capability, and
    `corner_cases` one per case.

    Keys: checkpoint, stage, suite, score, low, high, n, delta, delta_low, delta_high, all of the
    final part, and `dev` with score, low, high and n of the dev part. Deltas are to the parent's
    score on the prompts that both answered, and None without such an evaluation. With a delta also
    `p` (exact McNemar test), `p_adjusted` (Holm's correction over the suites of the evaluation, or
    over the parts of a suite), `verdict` (`better` or `worse` where that is below 5 %, else None)
    and `detectable` (`evals.paired.detectable`). The rows of `corner_cases` also have the rate, of
    which less is better: rate, rate_low, rate_high, rate_delta, rate_delta_low, rate_delta_high.
    Raises BadInput on unreadable files, and on evaluations from before suites had parts."""
    by_stage = {evaluation.stage: evaluation for evaluation in evaluations}
    answers = {stage: _read_answers(evaluation.folder) for stage, evaluation in by_stage.items()}
    rows = []
    for evaluation in evaluations:
        own: list[dict[str, Any]] = []
        before = answers.get(evaluation.parent) if evaluation.parent is not None else None
        for suite, parts in read_results(evaluation.folder).items():
            final, dev = _named(suite, parts[FINAL]), _named(suite, parts[DEV])
            for name, part in final.items():
                pairs = _pairs(before, answers[evaluation.stage], name)
                change = _delta(pairs)
                own.append(
                    {
                        "checkpoint": evaluation.checkpoint,
                        "stage": evaluation.stage,
                        "suite": name,
                        **_figures(part),
                        **dict(zip(("delta", "delta_low", "delta_high"), change, strict=True)),
                        **_rate_delta(part, change),
                        **_tested(pairs),
                        DEV: _figures(dev[name]),
                    }
                )
        _correct(own)
        rows += own
    return rows


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """Add what depends on the other rows of an evaluation: the suites are tested together, and so
    are the parts of each."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "p" in row:
            suite, part, _ = row["suite"].partition("/")
            families.setdefault(suite if part else "", []).append(row)
    for family in families.values():
        adjusted = holm([row["p"] for row in family])
        for row, p in zip(family, adjusted, strict=True):
            found = p < LEVEL
            verdict = ("better" if row["delta"] > 0 else "worse") if found else None
            row |= {"p_adjusted": p, "verdict": verdict}


def _named(suite: str, part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The figures of a suite's part; of `held_out` also those of each capability, of `corner_cases`
    those of each case."""
    own = part["by_capability"] if suite in (HELD_OUT_SUITE, CORNER_CASES) else {}
    return {suite: part, **{f"{suite}/{name}": figures for name, figures in own.items()}}


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("rate", "rate_low", "rate_high", "score", "low", "high", "n")
    return {key: part[key] for key in shown if key in part}


_Answers = dict[tuple[str, str], bool]
"""Whether an answer of the final part is correct, by (suite or suite/capability, its unit)."""
_Change = tuple[float | None, float | None, float | None]


def _rate_delta(part: Mapping[str, Any], change: _Change) -> dict[str, float | None]:
    """The change of a rate: that of the score with the other sign."""
    if "rate" not in part:
        return {}
    delta, low, high = (None if value is None else 0.0 - value for value in change)
    return {"rate_delta": delta, "rate_delta_low": high, "rate_delta_high": low}


_Pairs = Sequence[tuple[bool, bool]]
"""Whether each prompt was right before and after."""


def _pairs(before: _Answers | None, after: _Answers, name: str) -> _Pairs:
    return [
        (before[key], right)
        for key, right in after.items()
        if before is not None and key[0] == name and key in before
    ]


def _tested(pairs: _Pairs) -> dict[str, float]:
    if not pairs:
        return {}
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    return {"p": mcnemar(gained, lost), "detectable": detectable(gained, lost, len(pairs))}


def _delta(pairs: _Pairs) -> _Change:
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
    for row in stream_json_lines(path):
        suite, group = row["suite"], row.get("group", "")
        if counts(suite, row["fault"]) and part_of(group or row["id"]) == FINAL:
            unit = unit_of(suite, row["id"], row["capability"], group)
            answers[suite, unit] = row["correct"]
            answers[f"{suite}/{row['capability']}", unit] = row["correct"]
    return answers
