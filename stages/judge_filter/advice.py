"""What the filter believes of its pool, and whether its cut does harm there.

A cut helps where most of the pool is solved. Where most is out of reach, the easiest prompts are
those from which something can be learned. The audit's policy is believed before the judge, which
is another model. Neither is believed where another cause explains its failures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor
from typing import Any

from common.faults import counted, main_fault, remedy_of
from common.intervals import Estimate
from judges.audit import MEDIUM, MIN_PROMPTS, Audit
from judges.filtering import Decision
from judges.pool import PoolShares, pool_shares
from judges.verdict import Verdict, faults_of
from stages.judge_filter.audit import Rates
from stages.judge_filter.config import JudgeFilterStage

MOST_MISSING = 0.25
"""Largest share of attempts without a grade with which the others tell about the pool."""
MOSTLY = 0.5
"""The pool is mostly out of reach if the interval of that share lies above this."""
FEW = 32
"""Fewest prompts of medium difficulty that a cut should leave."""


@dataclass(frozen=True)
class Advice:
    """Sentences about the pool and the cut, and the figures in them."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    drop_easiest: float | None = None
    """The share that is solved, rounded down to whole 5 %; None if unknown."""
    shares: dict[str, PoolShares] = field(default_factory=dict)
    """By who attempted: `judge` or `policy`."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Attempted:
    """The attempts of the judge or of the policy."""

    who: str
    evidence: Sequence[tuple[int, int]]
    """Passed and graded attempts of each prompt that is not broken."""
    kept: Sequence[bool]
    made: int
    """Attempts, graded or not."""
    faults: str
    """Why attempts have no grade, in words."""
    remedy: str
    look: str
    """Where to look when nothing passes."""

    def doubt(self) -> str | None:
        """Why nothing is concluded from the failures; None if there is no other cause."""
        graded = sum(tries for _, tries in self.evidence)
        measured = sum(tries > 0 for _, tries in self.evidence)
        start = f"cannot tell what the pool is like for {self.who}"
        if self.made - graded > MOST_MISSING * self.made:
            return (
                f"{start}: {self.made - graded} of {self.made} attempts have no grade"
                f"{self.faults}; {self.remedy}."
            )
        if measured < MIN_PROMPTS:
            return f"{start}: {measured} prompts were attempted, and {MIN_PROMPTS} are needed."
        if not any(passed for passed, _ in self.evidence):
            return (
                f"{start}: not one of {graded} attempts passed, as when answers have another form"
                f" than the verifier reads; {self.look}."
            )
        return None


def advise(
    config: JudgeFilterStage,
    verdicts: Sequence[Sequence[Verdict]],
    decisions: Mapping[str, Decision],
    rates: Rates,
    audited: Sequence[Audit],
    seed: int,
) -> Advice:
    """The advice from the attempts of the first judge that makes any, and from the audit."""
    views = {}
    for judge, own in zip(config.judges, verdicts, strict=True):
        if judge.kind == "attempts" and "judge" not in views:
            views["judge"] = _of_judge(own, judge.attempts, decisions)
    if config.audit is not None:
        views["policy"] = _of_policy(rates, config.audit.attempts, decisions)
    lines, shares = [], {}
    for name, view in views.items():
        doubt = view.doubt()
        if doubt is None:
            shares[name] = pool_shares(view.evidence, view.kept, seed)
        lines.append(doubt or _line(view.who, shares[name]))
    if not shares:
        return Advice(lines)
    believed = "policy" if "policy" in shares else "judge"
    known = audited[-1].worth_asking if audited else True
    share = floor(20 * shares[believed].solved.value + 0.01) / 20 if known else 0.0
    warnings = _warnings(config, views[believed].who, shares[believed], share, known, decisions)
    if warnings and believed == "judge":
        warnings[-1] += " The judge is not the policy: an audit measures the policy."
    return Advice(lines, warnings, share, shares)


def _of_judge(
    verdicts: Sequence[Verdict], attempts: int, decisions: Mapping[str, Decision]
) -> _Attempted:
    own = [one for one in verdicts if decisions[one.id].decision != "broken"]
    made = sum(attempts - one.left for one in own)
    faults = faults_of(own)
    fault = main_fault(faults, made - sum(one.graded for one in own))
    return _Attempted(
        "the judge",
        [(one.passed, one.graded) for one in own],
        [decisions[one.id].decision == "kept" for one in own],
        made,
        f" ({counted(faults)})" if faults else "",
        f"of the judge: {remedy_of(fault)}" if fault else "look at the faults in verdicts.jsonl",
        "compare the replies in verdicts.jsonl with the reference answers, and give the judge"
        " examples",
    )


def _of_policy(rates: Rates, attempts: int, decisions: Mapping[str, Decision]) -> _Attempted:
    return _Attempted(
        "the policy",
        list(rates.values()),
        [decisions[id].decision == "kept" for id in rates],
        attempts * len(rates),
        "",
        "raise audit.max_tokens if they are cut off, otherwise check the verifier",
        "look at its answers in an evaluation, and audit a stage that has learned the form",
    )


def _line(who: str, shares: PoolShares) -> str:
    low, high = (f"{100 * rate:g} %" for rate in MEDIUM)
    return (
        f"the pool, as {who} solves it: {_percent(shares.solved)} solved,"
        f" {_percent(shares.medium)} medium, {_percent(shares.out_of_reach)} out of reach (pass"
        f" rates above {high}, between and below {low}; {shares.attempts} attempts at"
        f" {shares.prompts} prompts)."
    )


def _warnings(
    config: JudgeFilterStage,
    who: str,
    shares: PoolShares,
    recommended: float,
    known: bool,
    decisions: Mapping[str, Decision],
) -> list[str]:
    """What is wrong with the cut, each with a remedy."""
    outcomes = [one.decision for one in decisions.values()]
    kept, dropped = outcomes.count("kept"), outcomes.count("dropped")
    if not dropped:
        return []
    lower = f"set drop_easiest: {recommended:g}, " + (
        "the share that is solved" if known else "as the audit does not show that it finds them"
    )
    warnings = []
    if shares.out_of_reach.low > MOSTLY and config.drop_easiest > shares.solved.value:
        warnings.append(
            f"WARNING: drop_easiest {config.drop_easiest:g} does harm here."
            f" {_percent(shares.out_of_reach)} of the pool is out of reach for {who} and"
            f" {_percent(shares.solved)} is solved: the easiest prompts are those that can be"
            f" learned. Remedy: {lower}."
        )
    whole, left = shares.medium.value * (kept + dropped), shares.medium_kept
    if left is not None and left.high * kept < FEW:
        remedy = (
            lower
            if whole >= FEW and recommended < config.drop_easiest
            else (
                f"add prompts of medium difficulty, of which the whole pool has about {whole:.0f}"
            )
        )
        warnings.append(
            f"WARNING: of {kept} kept prompts about {left.value * kept:.0f} are of medium"
            f" difficulty for {who}, and fewer than {FEW} are soon learned by heart. Remedy:"
            f" {remedy}."
        )
    return warnings


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"
