"""A gate between stages: a checkpoint whose score falls too far stops the run.

A gate is given `DevScores`, which hold nothing of the final part of a suite."""

from collections.abc import Mapping
from typing import Any

from common.errors import BadInput, GateStopped
from evals.config import score_of
from evals.parts import DevScores

_ROUNDING = 1e-9


def require_score(scores: DevScores, suite: str, stage: str) -> None:
    """Raise GateStopped if the evaluation of `stage` has no score on the dev part of `suite`. An
    unknown score passes no gate."""
    found = _suite(scores, suite, f"evaluation of {stage}")
    if found["score"] is not None:
        return
    if not found["n"] + found["faults"]:
        raise GateStopped(
            f"gate: {suite} has no score after {stage!r}, because no prompt is in its dev part",
            "give the suite more prompts (a larger `held_out` of a source, or a larger `limit`), or"
            " remove the gate",
        )
    raise GateStopped(
        f"gate: {suite} has no score after {stage!r}, because none of the answers of its dev part"
        " could be graded",
        f"see `fault` in its answers.jsonl, correct the cause and add `--redo eval-{stage}`; or"
        " remove the gate",
    )


def check_gate(parent: DevScores, child: DevScores, suite: str, max_drop: float) -> None:
    """Raise GateStopped if the child's score on `suite` lies more than `max_drop` below its
    parent's.

    `parent` and `child` are two evaluations, both with a score. `max_drop` is a share: 0.02 is two
    points."""
    before = _suite(parent, suite, "parent's evaluation")
    after = _suite(child, suite, "child's evaluation")
    if after["score"] < before["score"] - max_drop - _ROUNDING:
        raise GateStopped(
            f"gate: the dev part of {score_of(suite)} fell from {_text(before)} to {_text(after)},"
            f" by {before['score'] - after['score']:.3f}; the gate allows {max_drop:g}",
            _remedy(before, after),
        )


def _remedy(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What to do. If newly cut-off answers explain the drop, the length comes first."""
    cut, earlier = after.get("cut_off", 0), before.get("cut_off", 0)
    lost = (before["score"] - after["score"]) * after["n"]
    longer = f"raise the suite's max_tokens: {cut} answers were cut off, {earlier} before; or "
    train = (
        "train less or lower the learning rate and redo the stage, or widen `gate.max_drop` in the"
        " recipe"
    )
    return f"{longer if 0 < lost <= 2 * (cut - earlier) else ''}{train}"


def _suite(scores: DevScores, suite: str, whose: str) -> Mapping[str, Any]:
    if suite not in scores.suites:
        has = ", ".join(scores.suites)
        raise BadInput(f"gate: the {whose} has no suite {suite!r}", f"it has: {has}")
    return scores.suites[suite]


def _text(result: Mapping[str, Any]) -> str:
    return f"{result['score']:.3f} [{result['low']:.3f}, {result['high']:.3f}] (n = {result['n']})"
