"""The metrics of the judge filter's record."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from judges.ask import JudgingResult
from judges.audit import Audit
from judges.config import JudgeConfig
from judges.filtering import Decision, Outcome
from judges.pairwise import position_bias
from judges.verdict import faults_of
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.judged_prompts import agreement_of


def metrics_of(
    config: JudgeFilterStage,
    results: Sequence[JudgingResult],
    decisions: Mapping[str, Decision],
    audited: Sequence[Audit],
) -> dict[str, Any]:
    """Counts by outcome and capability, figures per judge, and those of the audits."""
    counts = Counter(decision.decision for decision in decisions.values())
    by_capability: dict[str, Counter[str]] = {}
    for decision in decisions.values():
        by_capability.setdefault(decision.capability, Counter())[decision.decision] += 1
    names = get_args(Outcome)
    metrics: dict[str, Any] = {"prompts": len(decisions), **{name: counts[name] for name in names}}
    for number, (judge, result) in enumerate(zip(config.judges, results, strict=True)):
        prefix = "" if len(results) == 1 else f"judge_{number + 1}/"
        metrics |= {f"{prefix}{name}": value for name, value in _of_judge(judge, result).items()}
    if len(results) > 1:
        metrics["agreement"] = agreement_of([result.verdicts for result in results])
    for number, audit in enumerate(audited):
        name = (
            "audit"
            if len(audited) == 1
            else f"audit_{'together' if number == len(results) else number + 1}"
        )
        metrics |= {f"{name}/{key}": value for key, value in _of_audit(audit).items()}
    tables = {
        name: {outcome: by_capability[name][outcome] for outcome in names}
        for name in sorted(by_capability)
    }
    return metrics | {"capabilities": tables}


def _of_judge(judge: JudgeConfig, result: JudgingResult) -> dict[str, Any]:
    """The metrics of one judge's verdicts."""
    verdicts = result.verdicts
    replies = sum(len(verdict.replies) for verdict in verdicts)
    eases = [verdict.ease for verdict in verdicts if verdict.ease is not None]
    graded = sum(verdict.graded for verdict in verdicts)
    metrics: dict[str, Any] = {
        "asked": result.asked,
        "known": result.known,
        "mean_ease": sum(eases) / len(eases),
    }
    if judge.kind == "attempts":
        passes, attempts = zip(*(verdict.pass_evidence for verdict in verdicts), strict=True)
        metrics["pass_rate"] = sum(passes) / sum(attempts)
        metrics["all_pass_share"] = sum(
            v.graded > 0 and v.passed == v.graded for v in verdicts
        ) / len(eases)
        metrics["all_fail_share"] = sum(v.graded > 0 and not v.passed for v in verdicts) / len(
            eases
        )
        left = sum(verdict.left for verdict in verdicts)
        metrics |= {"attempts_not_asked_for": left} if left else {}
    if judge.kind == "pairwise":
        metrics["position_bias"] = position_bias(verdicts)
    how = Counter(reply.how for verdict in verdicts for reply in verdict.replies if reply.how)
    metrics |= {"asked_otherwise": dict(sorted(how.items()))} if how else {}
    return metrics | {"faulty_share": 1 - graded / replies, "faults": faults_of(verdicts)}


def _of_audit(audit: Audit) -> dict[str, Any]:
    """The audit's point estimates; `audit.json` has the full result."""
    names = ("auc", "spearman", "false_drop", "control")
    values = {name: value and value.value for name in names for value in [getattr(audit, name)]}
    return values | {"calibration_error": audit.calibration_error, "said": audit.sentence}
