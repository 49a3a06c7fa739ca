"""From the verdicts of one judge or several to one opinion a prompt, and to the ledger's prior."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curriculum.posterior import judge_prior
from curriculum.records import NewPrompt
from judges.audit import spearman
from judges.backend import Likelihood
from judges.filtering import JudgedPrompt, broken
from judges.verdict import Verdict
from prompts.schema import Prompt

ByJudge = Sequence[Sequence[Verdict]]
"""A list of verdicts a judge, each in the order of the prompts."""


def judged_prompts(
    prompts: Sequence[Prompt],
    judges: ByJudge,
    agreement: float,
    likelihoods: Mapping[str, Likelihood],
) -> list[JudgedPrompt]:
    """What the judges together say; `agreement` is the share of attempts that makes a prompt
    broken."""
    eases = _eases(judges)
    found = []
    for place, prompt in enumerate(prompts):
        verdicts = [verdicts[place] for verdicts in judges]
        likelihood, _ = likelihoods.get(prompt.id, (None, None))
        said = "; ".join(verdict.said for verdict in verdicts)
        if likelihood is not None:
            said = f"{said}, reference log-likelihood a token {likelihood:.3f}"
        evidence = broken(verdicts, agreement)
        found.append(
            JudgedPrompt(prompt.id, prompt.capability, eases[place], likelihood, said, evidence)
        )
    return found


def _eases(judges: ByJudge) -> list[float | None]:
    """One judge's own ease; of several, the mean of the prompt's places in their rankings (0
    hardest, 1 easiest)."""
    if len(judges) == 1:
        return [verdict.ease for verdict in judges[0]]
    places: list[list[float]] = [[] for _ in judges[0]]
    for verdicts in judges:
        known = [n for n, verdict in enumerate(verdicts) if verdict.ease is not None]
        _, value, count = np.unique(
            [verdicts[n].ease for n in known], return_inverse=True, return_counts=True
        )
        middle = (count.cumsum() - count / 2) / max(len(known), 1)
        for n, place in zip(known, middle[value].tolist(), strict=True):
            places[n].append(place)
    return [sum(found) / len(found) if found else None for found in places]


def agreement_of(judges: ByJudge) -> dict[str, float | None]:
    """Spearman's correlation of every two judges' eases, over the prompts that both could judge."""
    found: dict[str, float | None] = {}
    for one in range(len(judges)):
        for other in range(one + 1, len(judges)):
            pairs = [(a.ease, b.ease) for a, b in zip(judges[one], judges[other], strict=True)]
            both = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(
                -1, 2
            )
            (rho,) = spearman(both[:, 0], both[:, 1], np.ones((1, len(both)))).tolist()
            found[f"{one + 1} and {other + 1}"] = None if math.isnan(rho) else rho
    return found


@dataclass(frozen=True)
class _Word:
    """What the judges' word is worth as evidence of a pass rate."""

    passes: float
    seen: float


def _word(verdicts: Sequence[Verdict]) -> _Word:
    """Attempts count as what they are; a rating or a ranking is worth one look at a pass rate equal
    to its ease."""
    attempts = [verdict for verdict in verdicts if verdict.kind == "attempts" and verdict.graded]
    if attempts:
        return _Word(sum(v.passed for v in attempts), sum(v.graded for v in attempts))
    eases = [verdict.ease for verdict in verdicts if verdict.ease is not None]
    return _Word(sum(eases) / len(eases), 1.0) if eases else _Word(0.0, 0.0)


def entries(kept: Sequence[str], prompts: Sequence[Prompt], judges: ByJudge) -> list[NewPrompt]:
    """The kept prompts with their priors; a capability's pooled rate is over all its judged
    prompts."""
    words = {
        prompt.id: _word([verdicts[n] for verdicts in judges]) for n, prompt in enumerate(prompts)
    }
    passes: defaultdict[str, float] = defaultdict(float)
    seen: defaultdict[str, float] = defaultdict(float)
    for prompt in prompts:
        passes[prompt.capability] += words[prompt.id].passes
        seen[prompt.capability] += words[prompt.id].seen
    wanted, found = set(kept), []
    for n, prompt in enumerate(prompts):
        if prompt.id in wanted:
            word, group = words[prompt.id], prompt.capability
            prior = judge_prior(word.passes, word.seen, passes[group], seen[group])
            said = [verdicts[n] for verdicts in judges]
            verdict = next((one for one in said if one.graded), said[0]).summary()
            found.append(
                NewPrompt(prompt.id, group, prompt.source, prior, verdict, prompt.difficulty)
            )
    return found
