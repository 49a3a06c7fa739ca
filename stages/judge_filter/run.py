"""Drop the prompts that judges find easiest, and remember what they said as priors of the
difficulty ledger."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from common.errors import BadInput
from common.files import write_json, write_json_lines
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from curriculum.ledger import Ledger
from judges.ask import CHUNK, Asking, Judge, Judged, judge_prompts, likelihoods
from judges.audit import Audit
from judges.backend import Likelihood, Line
from judges.cache import Cache
from judges.config import JudgeConfig
from judges.filtering import Cut, Decision, Fate, cut_easiest, drop_counts, tied_at_the_cut
from judges.pairwise import position_bias
from judges.verdict import UNKEPT, faults_of, quoted
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts, write_prompts
from stages.judge_filter.audit import audits, holdout, measured_rates
from stages.judge_filter.backends import backend_of, cache_path, judge_of
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.judged_prompts import ByJudge, agreement_of, entries, judged_prompts

WAVES = 16
"""Questions in a chunk for each that an endpoint is asked at once: what a kill costs there is that
many at most."""


def run(config: JudgeFilterStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (kept), `dropped.parquet`, `reasons.jsonl`, `verdicts.jsonl`,
    `ledger.sqlite`, and with an audit `audit.json`."""
    prompts = sample(
        read_prompts(inputs["prompts"] / "prompts.parquet"), config.limit, context.seed
    )
    seed = derive(context.seed, "cut")
    cut = Cut(config.drop_easiest, config.stratified, config.keep_at_least, seed)
    sizes = Counter(prompt.capability for prompt in prompts)
    drop_counts(sizes, cut)  # refuses before a judge is asked
    _refuse_idle_examples(config.judges, sizes)
    with Cache(cache_path()) as cache:
        judges, judged, ties = _ask_all(config, prompts, cut, cache, context)
    verdicts = [one.verdicts for one in judged]
    decisions = cut_easiest(judged_prompts(prompts, verdicts, config.broken_agreement, ties), cut)
    checked: list[Audit] = []
    if config.audit:
        chosen = holdout(prompts, decisions, config.audit, context.seed)
        rates = measured_rates(chosen, config.audit, inputs["policy"], context)
        checked = audits(judges, verdicts, decisions, rates, config, derive(context.seed, "audit"))
        write_json(context.folder / "audit.json", [audit.to_json() for audit in checked])
        for audit in checked:
            context.note(audit.sentence)
    _write(context.folder, prompts, verdicts, decisions)
    for sentence in _missing(judged, decisions):
        context.note(sentence)
    metrics = _metrics(config, judged, decisions, checked)
    return Outputs(metrics=metrics, tokens_generated=sum(one.tokens for one in judged))


def _refuse_idle_examples(judges: Sequence[JudgeConfig], capabilities: Iterable[str]) -> None:
    known = sorted(capabilities)
    for judge in judges:
        idle = sorted(set(judge.examples) - set(known)) if judge.kind == "attempts" else []
        if idle:
            raise BadInput(
                f"the judge has examples of {', '.join(idle)}, and no prompt has that capability",
                f"name a capability of the prompts: {', '.join(known)}",
            )


def _ask_all(
    config: JudgeFilterStage,
    prompts: Sequence[Prompt],
    cut: Cut,
    cache: Cache,
    context: StageContext,
) -> tuple[list[Judge], list[Judged], dict[str, Likelihood]]:
    """Every judge's word, and where a tie lies across the cut how likely the first judge finds the
    reference answers.

    One judge is in memory at a time; the first comes last, so that it is there when the ties are
    known."""
    judges: list[Judge] = []
    judged: list[Judged] = []
    ties: dict[str, Likelihood] = {}
    for number, settings in reversed(list(enumerate(config.judges))):
        line = Line(context.note, context.stop_requested)
        source, identity = backend_of(settings, cache, context, line)
        resume = context.folder / "resume"
        try:
            judge = judge_of(settings, source)
            chunk = CHUNK if settings.url is None else min(CHUNK, WAVES * settings.concurrency)
            began = resume / f"judge-{number}.json"
            asking = Asking(
                cache, identity, began, context.progress, context.stop_requested, chunk, line
            )
            judges.insert(0, judge)
            judged.insert(0, judge_prompts(prompts, judge, asking))
            if number == 0:
                said = judged_prompts(
                    prompts, [one.verdicts for one in judged], config.broken_agreement, {}
                )
                tied = set(tied_at_the_cut(said, cut))
                asking = replace(asking, began=resume / "ties.json")
                close = [
                    replace(p, messages=settings.shown(p.capability, p.messages))
                    for p in prompts
                    if p.id in tied
                ]
                ties = likelihoods(close, source, settings.origin(), asking)
        finally:
            source.close()
    return judges, judged, ties


def _write(
    folder: Path, prompts: Sequence[Prompt], judges: ByJudge, decisions: Mapping[str, Decision]
) -> None:
    kept = [prompt for prompt in prompts if decisions[prompt.id].decision == "kept"]
    write_prompts(folder / "prompts.parquet", kept)
    write_prompts(
        folder / "dropped.parquet", [p for p in prompts if decisions[p.id].decision != "kept"]
    )
    write_json_lines(
        folder / "reasons.jsonl", (asdict(decisions[p.id]) | {"place": p.place} for p in prompts)
    )
    said = (
        {"judge": n + 1} | verdict.to_json()
        for n, verdicts in enumerate(judges)
        for verdict in verdicts
    )
    write_json_lines(folder / "verdicts.jsonl", said)
    with Ledger(None) as ledger:
        ledger.add(entries([prompt.id for prompt in kept], prompts, judges))
        ledger.snapshot(folder / "ledger.sqlite")


def _missing(judged: Sequence[Judged], decisions: Mapping[str, Decision]) -> list[str]:
    """What a person should know of replies and verdicts that there are not, with an endpoint's own
    words once."""
    found = []
    for one in judged:
        replies = [reply for verdict in one.verdicts for reply in verdict.replies]
        said = quoted((reply.fault, reply.text) for reply in replies)
        if said:
            missing = sum(reply.fault in UNKEPT for reply in replies)
            found.append(f"{missing} of {len(replies)} replies are missing{said}")
    unjudged = {id for id, decision in decisions.items() if decision.decision == "unjudged"}
    if unjudged:
        verdicts = [verdict for one in judged for verdict in one.verdicts if verdict.id in unjudged]
        faults = ", ".join(f"{fault} {n} times" for fault, n in faults_of(verdicts).items())
        found.append(
            f"{len(unjudged)} of {len(decisions)} prompts have no verdict: set aside in"
            f" dropped.parquet ({faults})"
        )
    return found


def _metrics(
    config: JudgeFilterStage,
    judged: Sequence[Judged],
    decisions: Mapping[str, Decision],
    checked: Sequence[Audit],
) -> dict[str, Any]:
    fates = Counter(decision.decision for decision in decisions.values())
    by_capability: dict[str, Counter[str]] = {}
    for decision in decisions.values():
        by_capability.setdefault(decision.capability, Counter())[decision.decision] += 1
    names = get_args(Fate)
    found: dict[str, Any] = {"prompts": len(decisions), **{name: fates[name] for name in names}}
    for number, (settings, one) in enumerate(zip(config.judges, judged, strict=True)):
        prefix = "" if len(judged) == 1 else f"judge_{number + 1}/"
        found |= {f"{prefix}{name}": value for name, value in _of_judge(settings, one).items()}
    if len(judged) > 1:
        found["agreement"] = agreement_of([one.verdicts for one in judged])
    for number, audit in enumerate(checked):
        name = (
            "audit"
            if len(checked) == 1
            else f"audit_{'together' if number == len(judged) else number + 1}"
        )
        found |= {f"{name}/{key}": value for key, value in _of_audit(audit).items()}
    tables = {
        name: {fate: by_capability[name][fate] for fate in names} for name in sorted(by_capability)
    }
    return found | {"capabilities": tables}


def _of_judge(settings: JudgeConfig, judged: Judged) -> dict[str, Any]:
    verdicts = judged.verdicts
    replies = sum(len(verdict.replies) for verdict in verdicts)
    eases = [verdict.ease for verdict in verdicts if verdict.ease is not None]
    graded = sum(verdict.graded for verdict in verdicts)
    values: dict[str, Any] = {
        "asked": judged.asked,
        "known": judged.known,
        "mean_ease": sum(eases) / len(eases),
    }
    if settings.kind == "attempts":
        values["pass_rate"] = sum(verdict.passed for verdict in verdicts) / graded
        values["all_pass_share"] = sum(
            v.graded > 0 and v.passed == v.graded for v in verdicts
        ) / len(eases)
        values["all_fail_share"] = sum(v.graded > 0 and not v.passed for v in verdicts) / len(eases)
    if settings.kind == "pairwise":
        values["position_bias"] = position_bias(verdicts)
    how = Counter(reply.how for verdict in verdicts for reply in verdict.replies if reply.how)
    values |= {"asked_otherwise": dict(sorted(how.items()))} if how else {}
    return values | {"faulty_share": 1 - graded / replies, "faults": faults_of(verdicts)}


def _of_audit(audit: Audit) -> dict[str, Any]:
    """The audit's point estimates; the whole is in `audit.json`."""
    names = ("auc", "spearman", "false_drop", "control")
    found = {name: value and value.value for name in names for value in [getattr(audit, name)]}
    return found | {"calibration_error": audit.calibration_error, "said": audit.sentence}
