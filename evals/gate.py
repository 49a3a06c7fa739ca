"""Gates between stages: whether a checkpoint holds what its recipe asks of it.

A gate is given `DevScores`, which hold nothing of the final part of a suite. Its verdict follows
from them alone, so that it is the same however often it is asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import BadInput, GateStopped
from evals.change import Change, change_between
from evals.config import score_of
from evals.gate_config import GateConfig
from evals.parts import DevScores

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What a gate says of a checkpoint."""

    stage: str
    suite: str
    then: str
    """What follows from a failure."""
    passed: bool
    message: str
    """Why it failed, or why there is doubt; empty where it passed without."""
    remedy: str
    score: float
    low: float
    high: float
    n: int
    parent: str | None = None
    """The checkpoint that it was compared with, with the difference to it."""
    change: Change | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain object."""
        return asdict(self)


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


def verdict(
    gate: GateConfig,
    stage: str,
    after: DevScores,
    parent: str | None = None,
    before: DevScores | None = None,
) -> Verdict:
    """What `gate` says of the checkpoint of `stage` with the scores `after`. `before` are those of
    `parent`; without them no drop is looked for, and that is told. Raises GateStopped where a score
    is missing."""
    require_score(after, gate.suite, stage)
    now = after.suites[gate.suite]
    change = was = None
    if gate.max_drop is not None and before is not None and parent is not None:
        require_score(before, gate.suite, parent)
        was = before.suites[gate.suite]
        change = change_between(before.units[gate.suite], after.units[gate.suite])
    floor = _below_floor(gate, now)
    drop = _dropped(gate, was, now, change)
    if gate.max_drop is not None and parent is not None and before is None:
        drop = False, f"a drop was not looked for: the evaluation of {parent!r} is not done"
    told = [(failed, text) for failed, text in (floor, drop) if text]
    failed = any(failed for failed, _ in told)
    # Where it failed, only what failed is told.
    message = "; ".join(text for one, text in told if one == failed)
    return Verdict(
        stage=stage,
        suite=gate.suite,
        then=gate.then,
        passed=not failed,
        message=f"gate: {message}" if message else "",
        remedy=_remedy(was, now) if failed else "",
        **{key: now[key] for key in ("score", "low", "high", "n")},
        parent=parent if change else None,
        change=change,
    )


def _below_floor(gate: GateConfig, now: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the score lies below the floor, and the words for it, also for a doubt."""
    if gate.floor is None:
        return False, ""
    failed = _failed(gate, now["low"] - gate.floor, now["high"] - gate.floor)
    text = f"the dev part of {score_of(gate.suite)} is {_text(now)}; the floor is {gate.floor:g}"
    return failed, _doubted(gate, failed, now["score"] - gate.floor, text)


def _dropped(
    gate: GateConfig, was: Mapping[str, Any] | None, now: Mapping[str, Any], change: Change | None
) -> tuple[bool, str]:
    """Whether the score fell too far, and the words for it, also for a doubt."""
    if gate.max_drop is None or was is None or change is None:
        return False, ""
    limit = -gate.max_drop
    failed = _failed(gate, change.low - limit, change.high - limit)
    text = (
        f"the dev part of {score_of(gate.suite)} went from {_text(was)} to {_text(now)}, a"
        f" difference of {change.delta:+.3f} [{change.low:+.3f}, {change.high:+.3f}] on the same"
        f" prompts; the gate allows a drop of {gate.max_drop:g}"
    )
    return failed, _doubted(gate, failed, change.delta - limit, text)


def _failed(gate: GateConfig, low: float, high: float) -> bool:
    """Whether a value with this interval above its limit, or below it, fails."""
    return (high if gate.in_doubt == "pass" else low) < -_ROUNDING


def _doubted(gate: GateConfig, failed: bool, above: float, text: str) -> str:
    """The words for a value that fails, or passes in spite of lying on the wrong side."""
    if failed:
        return text if above < -_ROUNDING else f"{text}; in doubt it fails"
    return f"{text}; in doubt it passes" if above < -_ROUNDING else ""


def _remedy(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """What to do. If newly cut-off answers explain a drop, the length comes first."""
    longer = ""
    if before is not None:
        cut, earlier = after.get("cut_off", 0), before.get("cut_off", 0)
        lost = (before["score"] - after["score"]) * after["n"]
        if 0 < lost <= 2 * (cut - earlier):
            longer = (
                f"raise the suite's max_tokens: {cut} answers were cut off, {earlier} before; or "
            )
    return (
        f"{longer}train less or lower the learning rate and redo the stage, widen the gate in the"
        " recipe, or let the run go back by `then: parent`"
    )


def _suite(scores: DevScores, suite: str, whose: str) -> Mapping[str, Any]:
    if suite not in scores.suites:
        has = ", ".join(scores.suites)
        raise BadInput(f"gate: the {whose} has no suite {suite!r}", f"it has: {has}")
    return scores.suites[suite]


def _text(result: Mapping[str, Any]) -> str:
    return f"{result['score']:.3f} [{result['low']:.3f}, {result['high']:.3f}] (n = {result['n']})"
