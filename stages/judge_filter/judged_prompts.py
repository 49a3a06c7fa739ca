"""Combine the verdicts of one or several judges into one judgement per prompt and into the prior of
the ledger."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curriculum.posterior import judge_prior
from curriculum.records import NewPrompt
from judges.audit import spearman
from judges.backend import Likelihood
from judges.filtering import JudgedPrompt, broken_evidence
from judges.verdict import Verdict
from prompts.schema import Prompt

VerdictsByJudge = Sequence[Sequence[Verdict]]
"""One list of verdicts per judge, each in the order of the prompts."""


def judged_prompts(
    prompts: Sequence[Prompt],
    judges: VerdictsByJudge,
    agreement: float,
    likelihoods: Mapping[str, Likelihood],
) -> list[JudgedPrompt]:
    """The combined judgement on each prompt. A prompt is broken if the share `agreement` of its
    attempts give the same wrong answer."""
    eases = _eases(judges)
    judged = []
    for place, prompt in enumerate(prompts):
        verdicts = [verdicts[place] for verdicts in judges]
        likelihood, _ = likelihoods.get(prompt.id, (None, None))
        description = "; ".join(verdict.description for verdict in verdicts)
        if likelihood is not None:
            description = f"{description}, reference log-likelihood per token {likelihood:.3f}"
        evidence = broken_evidence(verdicts, agreement)
        judged.append(
            JudgedPrompt(
                prompt.id, prompt.capability, eases[place], likelihood, description, evidence
            )
        )
    return judged


def _eases(judges: VerdictsByJudge) -> list[float | None]:
    """The ease given by a single judge; of several judges, the mean normalised rank of the prompt
    (0 hardest, 1 easiest)."""
    if len(judges) == 1:
        return [verdict.ease for verdict in judges[0]]
    ranks: list[list[float]] = [[] for _ in judges[0]]
    for verdicts in judges:
        known = [n for n, verdict in enumerate(verdicts) if verdict.ease is not None]
        _, value, count = np.unique(
            [verdicts[n].ease for n in known], return_inverse=True, return_counts=True
        )
        mid_ranks = (count.cumsum() - count / 2) / max(len(known), 1)
        for n, rank in zip(known, mid_ranks[value].tolist(), strict=True):
            ranks[n].append(rank)
    return [sum(own) / len(own) if own else None for own in ranks]


def agreement_of(judges: VerdictsByJudge) -> dict[str, float | None]:
    """Spearman's correlation of the eases of every two judges, over the prompts that both
    judged."""
    correlations: dict[str, float | None] = {}
    for one in range(len(judges)):
        for other in range(one + 1, len(judges)):
            pairs = [(a.ease, b.ease) for a, b in zip(judges[one], judges[other], strict=True)]
            both = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(
                -1, 2
            )
            (rho,) = spearman(both[:, 0], both[:, 1], np.ones((1, len(both)))).tolist()
            correlations[f"{one + 1} and {other + 1}"] = None if math.isnan(rho) else rho
    return correlations


@dataclass(frozen=True)
class _PassEvidence:
    """The verdicts on one prompt as evidence of its pass rate."""

    passes: float
    attempts: float


def _pass_evidence(verdicts: Sequence[Verdict]) -> _PassEvidence:
    """Attempts count as they are. A rating or a rank counts as one attempt with the ease as its
    pass rate."""
    attempts = [verdict for verdict in verdicts if verdict.kind == "attempts" and verdict.graded]
    if attempts:
        return _PassEvidence(sum(v.passed for v in attempts), sum(v.graded for v in attempts))
    eases = [verdict.ease for verdict in verdicts if verdict.ease is not None]
    return _PassEvidence(sum(eases) / len(eases), 1.0) if eases else _PassEvidence(0.0, 0.0)


def _pooled_evidence(verdicts: Sequence[Verdict]) -> _PassEvidence:
    """The evidence in a pooled rate, where all prompts count alike: attempts that were not made,
    because the prompt's fate was decided, count like its graded ones."""
    if not any(verdict.left for verdict in verdicts):
        return _pass_evidence(verdicts)
    parts = [verdict.pass_evidence for verdict in verdicts]
    return _PassEvidence(sum(passes for passes, _ in parts), sum(n for _, n in parts))


def ledger_entries(
    kept: Sequence[str], prompts: Sequence[Prompt], judges: VerdictsByJudge
) -> list[NewPrompt]:
    """The prompts with ids in `kept`, with their priors. The pooled rate of a capability is over
    all its judged prompts. Demonstrations are left out: no answer to them can pass."""
    evidence = {
        prompt.id: _pass_evidence([verdicts[n] for verdicts in judges])
        for n, prompt in enumerate(prompts)
    }
    passes: defaultdict[str, float] = defaultdict(float)
    attempts: defaultdict[str, float] = defaultdict(float)
    for n, prompt in enumerate(prompts):
        pooled = _pooled_evidence([verdicts[n] for verdicts in judges])
        passes[prompt.capability] += pooled.passes
        attempts[prompt.capability] += pooled.attempts
    kept_ids, entries = set(kept), []
    for n, prompt in enumerate(prompts):
        if prompt.id in kept_ids and not prompt.is_demonstration:
            own, group = evidence[prompt.id], prompt.capability
            prior = judge_prior(own.passes, own.attempts, passes[group], attempts[group])
            verdicts = [by_judge[n] for by_judge in judges]
            shown = next((verdict for verdict in verdicts if verdict.graded), verdicts[0])
            entries.append(
                NewPrompt(
                    prompt.id, group, prompt.source, prior, shown.summary(), prompt.difficulty
                )
            )
    return entries
