"""A gate between stages: a checkpoint whose score falls too far stops the run."""

from typing import Any

from common.errors import BadInput, GateStopped

_ROUNDING = 1e-9


def require_score(results: dict[str, Any], suite: str, stage: str) -> None:
    """Raise GateStopped if the evaluation of `stage` has no score on `suite`. An unknown score
    passes no gate."""
    if _suite(results, suite, f"evaluation of {stage}")["score"] is None:
        raise GateStopped(
            f"gate: {suite} has no score after {stage!r}, because none of its answers could be"
            " graded",
            f"see `fault` in its answers.jsonl, correct the cause and add `--redo eval-{stage}`; or"
            " remove the gate",
        )


def check_gate(parent: dict[str, Any], child: dict[str, Any], suite: str, max_drop: float) -> None:
    """Raise GateStopped if the child's score on `suite` lies more than `max_drop` below its
    parent's.

    `parent` and `child` are the contents of two `results.json`, both with a score. `max_drop` is a
    share: 0.02 is two points."""
    before = _suite(parent, suite, "parent's evaluation")
    after = _suite(child, suite, "child's evaluation")
    if after["score"] < before["score"] - max_drop - _ROUNDING:
        raise GateStopped(
            f"gate: {suite} fell from {_text(before)} to {_text(after)}, by"
            f" {before['score'] - after['score']:.3f}; the gate allows {max_drop:g}",
            _remedy(before, after),
        )


def _remedy(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What to do. If newly cut-off answers explain the drop, the length comes first."""
    cut, earlier = after.get("cut_off", 0), before.get("cut_off", 0)
    lost = (before["score"] - after["score"]) * after["n"]
    longer = f"raise the suite's max_tokens: {cut} answers were cut off, {earlier} before; or "
    train = (
        "train less or lower the learning rate and redo the stage, or widen `gate.max_drop` in the"
        " recipe"
    )
    return f"{longer if 0 < lost <= 2 * (cut - earlier) else ''}{train}"


def _suite(results: dict[str, Any], suite: str, whose: str) -> dict[str, Any]:
    suites: dict[str, dict[str, Any]] = results["suites"]
    if suite not in suites:
        raise BadInput(f"gate: the {whose} has no suite {suite!r}", f"it has: {', '.join(suites)}")
    return suites[suite]


def _text(result: dict[str, Any]) -> str:
    return f"{result['score']:.3f} [{result['low']:.3f}, {result['high']:.3f}] (n = {result['n']})"
