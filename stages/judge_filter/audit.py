"""The audit of a filter: the policy attempts a random part of the judged prompts, and the verdicts
are compared with what it solves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.artifacts import CHECKPOINT
from common.errors import Interrupted
from common.files import read_json, write_json
from common.seeds import derive
from common.stage import StageContext
from judges.ask import Judge
from judges.attempts import Attempts
from judges.audit import Audit, AuditedPrompt, audit
from judges.backend import Backend, SamplingRequest
from judges.filtering import Decision, ease_ranks
from judges.verdict import Verdict
from prompts.sample import sample
from prompts.schema import Prompt
from rewards.grader import Grader, first_part
from stages.judge_filter.backends import LazyBackend
from stages.judge_filter.config import AuditConfig, JudgeFilterStage

Rates = Mapping[str, tuple[int, int]]
"""The policy's passes and graded attempts, by prompt id."""
AT_ONCE = 16
"""Prompts that the policy attempts between two looks at a requested stop."""


def holdout(
    prompts: Sequence[Prompt], decisions: Mapping[str, Decision], config: AuditConfig, seed: int
) -> list[Prompt]:
    """A random sample of the prompts that the cut ranked, every capability with its share."""
    ranked = [prompt for prompt in prompts if decisions[prompt.id].rank is not None]
    return sample(ranked, config.prompts, derive(seed, "holdout"))


def measured_rates(
    chosen: Sequence[Prompt],
    config: AuditConfig,
    policy: Path,
    grader: Grader,
    context: StageContext,
) -> Rates:
    """The policy's rates on the chosen prompts. A cut-off attempt counts neither as passed nor as
    graded, as RL masks it."""

    def open_engine() -> Backend:
        from judges.engine import EngineBackend
        from rollouts.start import start_engine

        engine = start_engine(
            CHECKPOINT.path(policy), config.rollouts, derive(context.seed, "policy"), context
        )
        return EngineBackend(engine)

    backend = LazyBackend(open_engine)
    try:
        return rates_of(chosen, config, backend, grader, context)
    finally:
        backend.close()


def rates_of(
    chosen: Sequence[Prompt],
    config: AuditConfig,
    backend: Backend,
    grader: Grader,
    context: StageContext,
) -> Rates:
    """The rates of `backend` on the chosen prompts, AT_ONCE of them at a time.

    After each of these it saves what it has and reports its progress. Raises Interrupted when a
    stop is requested; the next call goes on from what was saved.
    """
    path = context.folder / "resume" / "rates.json"
    path.parent.mkdir(exist_ok=True)
    rates = read_json(path) if path.exists() else {}
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        if part[0].id in rates:
            continue
        if context.stop_requested():
            raise Interrupted(
                f"stopped with {start} of {len(chosen)} prompts audited",
                "run the same command again",
            )
        rates |= _attempted(part, config, backend, grader, context.seed)
        write_json(path, rates)
        context.progress(start + len(part), len(chosen), unit="prompt")
    return {id: (passes, graded) for id, (passes, graded) in rates.items()}


def _attempted(
    prompts: Sequence[Prompt], config: AuditConfig, backend: Backend, grader: Grader, seed: int
) -> dict[str, tuple[int, int]]:
    requests = [
        SamplingRequest(
            prompt.messages,
            config.attempts,
            config.temperature,
            config.max_tokens,
            derive(seed, "audit", prompt.id),
        )
        for prompt in prompts
    ]
    grades = {}
    for prompt, completions in zip(prompts, backend.sample(requests), strict=True):
        ended = [one.text for one in completions if one.finish == "stop"]
        grades[prompt.id] = grader.submit(first_part(prompt), ended)
    rates = {}
    for id, given in grades.items():
        graded = [one for one in given() if one.fault is None]
        rates[id] = sum(one.correct for one in graded), len(graded)
    return rates


def audits(
    judges: Sequence[Judge],
    verdicts: Sequence[Sequence[Verdict]],
    decisions: Mapping[str, Decision],
    rates: Rates,
    config: JudgeFilterStage,
    seed: int,
) -> list[Audit]:
    """One audit per judge. With several judges each is audited by its ease, and a last audit is
    that of their combined ranking."""
    share, ranks = config.drop_easiest, ease_ranks(decisions, config.stratified)
    own_ranks = ranks if len(judges) == 1 else {}
    made = [
        audit(_by_judge(own, decisions, own_ranks, rates), share, isinstance(judge, Attempts), seed)
        for judge, own in zip(judges, verdicts, strict=True)
    ]
    if len(judges) > 1:
        made.append(audit(_combined(decisions, ranks, rates), share, False, seed))
    return made


def _by_judge(
    verdicts: Sequence[Verdict],
    decisions: Mapping[str, Decision],
    ranks: Mapping[str, float],
    rates: Rates,
) -> list[AuditedPrompt]:
    return [
        AuditedPrompt(
            v.id,
            v.ease,
            v.low,
            v.high,
            ranks.get(v.id, v.ease),
            *rates[v.id],
            _dropped(decisions[v.id]),
        )
        for v in verdicts
        if v.id in rates and v.ease is not None
    ]


def _combined(
    decisions: Mapping[str, Decision], ranks: Mapping[str, float], rates: Rates
) -> list[AuditedPrompt]:
    return [
        AuditedPrompt(d.id, d.ease, None, None, ranks[d.id], *rates[d.id], _dropped(d))
        for d in (decisions[id] for id in rates)
        if d.ease is not None
    ]


def _dropped(decision: Decision) -> bool:
    return decision.decision == "dropped"
