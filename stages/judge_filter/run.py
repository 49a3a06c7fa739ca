"""Drop the prompts that judges find easiest, and store the verdicts as priors of the difficulty
ledger."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from common.artifacts import AUDIT, DROPPED, LEDGER, PROMPTS, REASONS, VERDICTS
from common.errors import BadInput
from common.reply_cache import ReplyCache
from common.seeds import derive
from common.stage import Inputs, Outputs, StageContext
from curriculum.ledger import Ledger
from judges.ask import CHUNK, Judge, JudgeSession, JudgingResult, judge_prompts, likelihoods
from judges.attempts import Attempts
from judges.audit import Audit
from judges.backend import Backend, BackendMonitor, Likelihood
from judges.cache import cache_path
from judges.config import JudgeConfig
from judges.fate import undecided
from judges.filtering import (
    Decision,
    FilterSettings,
    drop_counts,
    drop_easiest,
    tied_at_threshold,
)
from judges.rounds import judge_in_rounds
from judges.verdict import UNCACHED_FAULTS, endpoint_quote, faults_of
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts, write_prompts
from rewards.grader import Grader, first_part
from stages.grading import open_grader
from stages.judge_filter.advice import advise
from stages.judge_filter.audit import Rates, audits, holdout, measured_rates
from stages.judge_filter.backends import backend_of, judge_of
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.judged_prompts import (
    VerdictsByJudge,
    judged_prompts,
    ledger_entries,
)
from stages.judge_filter.metrics import metrics_of

QUESTIONS_PER_SLOT = 16
"""Questions per chunk for each request that an endpoint may have in flight. A kill loses at most
one chunk."""


def run(config: JudgeFilterStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (kept), `dropped.parquet`, `reasons.jsonl`, `verdicts.jsonl`,
    `ledger.sqlite`, and with an audit `audit.json`."""
    prompts = sample(read_prompts(PROMPTS.path(inputs["prompts"])), config.limit, context.seed)
    seed = derive(context.seed, "cut")
    settings = FilterSettings(config.drop_easiest, config.stratified, config.keep_at_least, seed)
    sizes = Counter(prompt.capability for prompt in prompts)
    drop_counts(sizes, settings)  # raises for impossible settings before a judge is asked
    _refuse_unused_examples(config.judges, sizes)
    with ReplyCache(cache_path()) as cache, open_grader(context) as grader:
        if config.audit or any(map(_needs_verifiers, config.judges)):
            grader.prepare(map(first_part, prompts))
        judges, results, ties = _ask_all(config, prompts, settings, cache, grader, context)
        verdicts = [result.verdicts for result in results]
        judged = judged_prompts(prompts, verdicts, config.broken_agreement, ties)
        decisions = drop_easiest(judged, settings)
        rates: Rates = {}
        if config.audit:
            chosen = holdout(prompts, decisions, config.audit, context.seed)
            rates = measured_rates(chosen, config.audit, inputs["policy"], grader, context)
    audited: list[Audit] = []
    if config.audit:
        audited = audits(judges, verdicts, decisions, rates, config, derive(context.seed, "audit"))
        AUDIT.write(context.folder, [audit.to_json() for audit in audited])
        for audit in audited:
            context.note(audit.sentence)
    _write(context.folder, prompts, verdicts, decisions)
    for sentence in _missing_replies(results, decisions):
        context.note(sentence)
    advice = advise(config, verdicts, decisions, rates, audited, derive(context.seed, "advice"))
    for sentence in [*advice.lines, *advice.warnings]:
        context.note(sentence)
    metrics = metrics_of(config, results, decisions, audited) | {"pool": advice.to_json()}
    return Outputs(metrics=metrics, tokens_generated=sum(result.tokens for result in results))


def _needs_verifiers(judge: JudgeConfig) -> bool:
    return judge.kind == "attempts" and judge.graded_by == "verifier"


def _refuse_unused_examples(judges: Sequence[JudgeConfig], capabilities: Iterable[str]) -> None:
    """Raise BadInput if a judge has examples of a capability that no prompt has."""
    known = sorted(capabilities)
    for judge in judges:
        unused = sorted(set(judge.examples) - set(known)) if judge.kind == "attempts" else []
        if unused:
            raise BadInput(
                f"the judge has examples of {', '.join(unused)}, and no prompt has that capability",
                f"name a capability of the prompts: {', '.join(known)}",
            )


def _ask_all(
    config: JudgeFilterStage,
    prompts: Sequence[Prompt],
    settings: FilterSettings,
    cache: ReplyCache,
    grader: Grader,
    context: StageContext,
) -> tuple[list[Judge], list[JudgingResult], dict[str, Likelihood]]:
    """Every judge with its verdicts, and the first judge's likelihoods of the reference answers of
    prompts that are tied at the threshold.

    One judge is in memory at a time. The first judge is asked last, because the ties are known only
    after all others have answered."""
    judges: list[Judge] = []
    results: list[JudgingResult] = []
    ties: dict[str, Likelihood] = {}
    for number, judge_config in reversed(list(enumerate(config.judges))):
        monitor = BackendMonitor(context.note, context.stop_requested)
        backend, identity = backend_of(judge_config, cache, context, monitor)
        try:
            judge = judge_of(judge_config, backend, grader)
            session = JudgeSession(
                cache,
                identity,
                context.folder / "resume" / f"judge-{number}.json",
                context.progress,
                context.stop_requested,
                _chunk_of(judge_config),
                monitor,
            )
            judges.insert(0, judge)
            results.insert(0, _judged(config, prompts, judge, settings, session))
            if number == 0:
                verdicts = [result.verdicts for result in results]
                judged = judged_prompts(prompts, verdicts, config.broken_agreement, {})
                tied = set(tied_at_threshold(judged, settings))
                ties = _tie_likelihoods(
                    [prompt for prompt in prompts if prompt.id in tied],
                    judge_config,
                    backend,
                    replace(session, open_questions=context.folder / "resume" / "ties.json"),
                )
        finally:
            backend.close()
    return judges, results, ties


def _judged(
    config: JudgeFilterStage,
    prompts: Sequence[Prompt],
    judge: Judge,
    settings: FilterSettings,
    session: JudgeSession,
) -> JudgingResult:
    """The verdicts of one judge, which asks on only while the cut may depend on it if the filter
    stops early."""
    if not (config.stop_early and isinstance(judge, Attempts)):
        return judge_prompts(prompts, judge, session)
    attempts, agreement = judge.config.attempts, config.broken_agreement
    return judge_in_rounds(
        prompts,
        judge,
        session,
        lambda verdicts: undecided(prompts, verdicts, attempts, agreement, settings),
    )


def _chunk_of(judge: JudgeConfig) -> int:
    return CHUNK if judge.url is None else min(CHUNK, QUESTIONS_PER_SLOT * judge.concurrency)


def _tie_likelihoods(
    tied: Sequence[Prompt], judge: JudgeConfig, backend: Backend, session: JudgeSession
) -> dict[str, Likelihood]:
    """The judge's likelihoods of the reference answers of the tied prompts."""
    shown = [
        replace(prompt, messages=judge.shown(prompt.capability, prompt.messages)) for prompt in tied
    ]
    return likelihoods(shown, backend, judge.origin(), session)


def _write(
    folder: Path,
    prompts: Sequence[Prompt],
    judges: VerdictsByJudge,
    decisions: Mapping[str, Decision],
) -> None:
    kept = [prompt for prompt in prompts if decisions[prompt.id].decision == "kept"]
    write_prompts(PROMPTS.path(folder), kept)
    write_prompts(DROPPED.path(folder), [p for p in prompts if decisions[p.id].decision != "kept"])
    REASONS.write(folder, (asdict(decisions[p.id]) | {"place": p.place} for p in prompts))
    rows = (
        {"judge": n + 1} | verdict.to_json()
        for n, verdicts in enumerate(judges)
        for verdict in verdicts
    )
    VERDICTS.write(folder, rows)
    with Ledger(None) as ledger:
        ledger.add(ledger_entries([prompt.id for prompt in kept], prompts, judges))
        ledger.snapshot(LEDGER.path(folder))


def _missing_replies(
    results: Sequence[JudgingResult], decisions: Mapping[str, Decision]
) -> list[str]:
    """Sentences for the user about missing replies and verdicts, with the endpoint's error message
    quoted once."""
    sentences = []
    for result in results:
        replies = [reply for verdict in result.verdicts for reply in verdict.replies]
        quote = endpoint_quote((reply.fault, reply.text) for reply in replies)
        if quote:
            missing = sum(reply.fault in UNCACHED_FAULTS for reply in replies)
            sentences.append(f"{missing} of {len(replies)} replies are missing{quote}")
    unjudged = {id for id, decision in decisions.items() if decision.decision == "unjudged"}
    if unjudged:
        verdicts = [
            verdict for result in results for verdict in result.verdicts if verdict.id in unjudged
        ]
        faults = ", ".join(f"{fault} {n} times" for fault, n in faults_of(verdicts).items())
        sentences.append(
            f"{len(unjudged)} of {len(decisions)} prompts have no verdict: set aside in"
            f" dropped.parquet ({faults})"
        )
    return sentences
