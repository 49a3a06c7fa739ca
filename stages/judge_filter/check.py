"""The audit: the policy tries a random part of the judged prompts, and the verdicts are held
against what it solves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import Interrupted
from common.files import read_json, write_json
from common.seeds import derive
from common.stage import StageContext
from judges.ask import Judge
from judges.attempts import Attempts
from judges.audit import Audit, AuditedPrompt, audit
from judges.backend import Backend, SamplingRequest
from judges.filtering import Decision
from judges.verdict import Verdict
from prompts.sample import sample
from prompts.schema import Prompt
from rewards.grade import grade
from stages.judge_filter.config import AuditConfig, JudgeFilterStage
from stages.judge_filter.sources import LazyBackend

Rates = Mapping[str, tuple[int, int]]
"""The policy's passes and graded attempts by prompt id."""
AT_ONCE = 16
"""Prompts that the policy tries at once."""


def holdout(
    prompts: Sequence[Prompt], decisions: Mapping[str, Decision], config: AuditConfig, seed: int
) -> list[Prompt]:
    """A random sample of the prompts that the cut was about, every capability with its share."""
    judged = [prompt for prompt in prompts if decisions[prompt.id].rank is not None]
    return sample(judged, config.prompts, derive(seed, "holdout"))


def measured_rates(
    chosen: Sequence[Prompt], config: AuditConfig, policy: Path, context: StageContext
) -> Rates:
    """The policy's passes and graded attempts. A cut-off attempt counts neither way, as RL masks
    it."""

    def engine() -> Backend:
        from judges.engine import EngineBackend
        from rollouts.engine import Engine

        return EngineBackend(
            Engine(policy / "checkpoint", config.rollouts, derive(context.seed, "policy"))
        )

    source = LazyBackend(engine)
    try:
        return rates_of(chosen, config, source, context)
    finally:
        source.close()


def rates_of(
    chosen: Sequence[Prompt], config: AuditConfig, source: Backend, context: StageContext
) -> Rates:
    """The same of `source`, a few prompts at a time: between two lots it says how far it is and
    heeds a stop."""
    path = context.folder / "resume" / "audit.json"
    path.parent.mkdir(exist_ok=True)
    known = read_json(path) if path.exists() else {}
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        if part[0].id in known:
            continue
        if context.stop_requested():
            raise Interrupted(
                f"stopped with {start} of {len(chosen)} prompts audited",
                "run the same command again",
            )
        known |= _try(part, config, source, context.seed)
        write_json(path, known)
        context.progress(start + len(part), len(chosen), unit="prompt")
    return {id: (passes, tries) for id, (passes, tries) in known.items()}


def _try(
    chosen: Sequence[Prompt], config: AuditConfig, source: Backend, seed: int
) -> dict[str, tuple[int, int]]:
    requests = [
        SamplingRequest(
            p.messages,
            config.attempts,
            config.temperature,
            config.max_tokens,
            derive(seed, "audit", p.id),
        )
        for p in chosen
    ]
    rates = {}
    for prompt, completions in zip(chosen, source.sample(requests), strict=True):
        grades = [grade(prompt, one.text) for one in completions if one.finish == "stop"]
        known = [got for got in grades if got.fault is None]
        rates[prompt.id] = sum(got.correct for got in known), len(known)
    return rates


def audits(
    judges: Sequence[Judge],
    verdicts: Sequence[Sequence[Verdict]],
    decisions: Mapping[str, Decision],
    rates: Rates,
    config: JudgeFilterStage,
    seed: int,
) -> list[Audit]:
    """An audit a judge; of several, a last one of what they say together."""
    found = []
    for judge, said in zip(judges, verdicts, strict=True):
        rows = [
            AuditedPrompt(
                v.id, v.ease, v.low, v.high, *rates[v.id], decisions[v.id].decision == "dropped"
            )
            for v in said
            if v.id in rates and v.ease is not None
        ]
        found.append(audit(rows, config.drop_easiest, isinstance(judge, Attempts), seed))
    if len(judges) > 1:
        together = [decisions[id] for id in rates]
        rows = [
            AuditedPrompt(d.id, d.ease, None, None, *rates[d.id], d.decision == "dropped")
            for d in together
            if d.ease is not None
        ]
        found.append(audit(rows, config.drop_easiest, False, seed))
    return found
