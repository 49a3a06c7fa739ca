"""Compares checkpoints: the score on the final part of each suite, and its difference to the
parent's. The dev score, which gates read, stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.change import Change, change_between
from evals.figures import shown_parts
from evals.paired import LEVEL, holm
from evals.parts import DEV, FINAL, read_results
from evals.reading import read_units


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
    """One row per suite of each evaluation of a run, and one per capability that is shown.

    Keys: checkpoint, stage, suite, score, low, high, n, delta, delta_low, delta_high, all of the
    final part, and `dev` with score, low, high and n of the dev part. Deltas are to the parent's
    score on the prompts that both answered, and None without such an evaluation. With a delta also
    `p` (`evals/change.py`), `p_adjusted` (Holm's correction over the suites of the evaluation, or
    over the parts of a suite), `verdict` (`better` or `worse` where that is below 5 %, else None)
    and `detectable` (`evals.paired.detectable`). The rows of `corner_cases` also have the rate, of
    which less is better: rate, rate_low, rate_high, rate_delta, rate_delta_low, rate_delta_high.
    Raises BadInput on unreadable files, and on evaluations from before suites had parts."""
    by_stage = {evaluation.stage: evaluation for evaluation in evaluations}
    answers = {
        stage: read_units(evaluation.folder, FINAL) for stage, evaluation in by_stage.items()
    }
    rows = []
    for evaluation in evaluations:
        own: list[dict[str, Any]] = []
        before = answers.get(evaluation.parent) if evaluation.parent is not None else None
        for suite, parts in read_results(evaluation.folder).items():
            final, dev = shown_parts(suite, parts[FINAL]), shown_parts(suite, parts[DEV])
            for name, part in final.items():
                now = answers[evaluation.stage].get(name, {})
                change = change_between(before.get(name, {}), now) if before else None
                own.append(
                    {
                        "checkpoint": evaluation.checkpoint,
                        "stage": evaluation.stage,
                        "suite": name,
                        **_figures(part),
                        **_delta(change),
                        **_rate_delta(part, change),
                        **({} if change is None else _tested(change)),
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


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("rate", "rate_low", "rate_high", "score", "low", "high", "n")
    return {key: part[key] for key in shown if key in part}


def _delta(change: Change | None) -> dict[str, float | None]:
    if change is None:
        return dict.fromkeys(("delta", "delta_low", "delta_high"))
    return {"delta": change.delta, "delta_low": change.low, "delta_high": change.high}


def _rate_delta(part: Mapping[str, Any], change: Change | None) -> dict[str, float | None]:
    """The change of a rate: that of the score with the other sign."""
    if "rate" not in part:
        return {}
    if change is None:
        return dict.fromkeys(("rate_delta", "rate_delta_low", "rate_delta_high"))
    return {
        "rate_delta": 0.0 - change.delta,
        "rate_delta_low": 0.0 - change.high,
        "rate_delta_high": 0.0 - change.low,
    }


def _tested(change: Change) -> dict[str, float]:
    return {"p": change.p, "detectable": change.detectable}
