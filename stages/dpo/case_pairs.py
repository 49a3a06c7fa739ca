"""Preference pairs from answers to the prompts of corner cases: an answer that shows no case, and
is right where that can be graded, is preferred to one that shows the prompt's case.

Plain functions of graded answers: nothing here samples. An answer with a fault (a verifier's crash,
thinking without an end) is in no pair. Lengths are matched as well as the answers allow, so that
training does not learn the length instead."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from typing import Any

from common.quotas import apportion
from corner_cases.interface import Finding

NO_CASE, NO_CLEAN, LENGTHS = "without_the_case", "without_a_clean_answer", "lengths_differ"
"""Why a prompt has no pair, in the order in which it is looked for."""
REMEDIES = {
    NO_CASE: "raise samples or temperature, or leave the case out: the policy hardly shows it",
    NO_CLEAN: "raise samples or temperature, or teach the right answers by SFT first",
    LENGTHS: "raise max_length_ratio or samples",
    "too_long": "raise rollouts.max_model_len or lower max_tokens",
    "held_out": "leave the case out, or hold other prompts out",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A graded answer to one prompt."""

    text: str
    token_ids: list[int]
    """Without the end token where the limit of tokens ended it."""
    finish: str
    """`stop` or `length`."""
    clean: bool
    """Whether it shows no corner case at all, and is right if the prompt has a verifier."""
    finding: Finding | None = None
    """The prompt's case, if the answer shows it."""
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class CasePair:
    """Two answers to one prompt; as JSON a line of `pairs.jsonl`."""

    case: str
    prompt_id: str
    chosen: str
    rejected: str
    reason: str
    """What the detector found in the rejected answer."""
    evidence: str
    chosen_tokens: int
    rejected_tokens: int
    rejected_finish: str
    chosen_logprob: float | None = None
    """Mean log-probability of its tokens under the policy that sampled it, in nats."""
    rejected_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Answers of a prompt that can be a pair."""

    case: str
    prompt_id: str
    chosen: Sample
    rejected: Sample
    rank: int
    """0 for the first pair of its prompt."""

    @property
    def difference(self) -> int:
        """Of their lengths, in tokens."""
        return abs(len(self.chosen.token_ids) - len(self.rejected.token_ids))

    def as_pair(self, chosen_logprob: float | None, rejected_logprob: float | None) -> CasePair:
        assert self.rejected.finding is not None
        return CasePair(
            self.case,
            self.prompt_id,
            self.chosen.text,
            self.rejected.text,
            self.rejected.finding.reason,
            self.rejected.finding.evidence,
            len(self.chosen.token_ids),
            len(self.rejected.token_ids),
            self.rejected.finish,
            chosen_logprob,
            rejected_logprob,
        )


@dataclass
class CaseFigures:
    """What became of the prompts of one case."""

    prompts: int = 0
    answers: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rated: int = 0
    """Answers, or for cases of several languages questions with their answers, in which the case
    was looked for."""
    shown: int = 0
    """Those that show the case."""
    without_pair: Counter[str] = field(default_factory=Counter)
    """Prompts that give no pair, by reason."""
    pairs: int = 0
    """Pairs that could be made."""

    def to_json(self, trained: Sequence[CasePair]) -> dict[str, Any]:
        """The figures of a record, with those of the pairs that are trained on."""
        return {
            "prompts": self.prompts,
            "answers": self.answers,
            "faults": dict(sorted(self.faults.items())),
            "rate": self.shown / self.rated if self.rated else None,
            "prompts_without_pair": dict(sorted(self.without_pair.items())),
            "pairs_found": self.pairs,
            "trained": len(trained),
            "mean_tokens": _both(trained, "tokens"),
            "logprob_per_token": _both(trained, "logprob"),
        }

    def why_none(self) -> tuple[str, str]:
        """Why the case gives no pair, and what to do about it."""
        if not self.without_pair:
            return "none of its prompts is left", REMEDIES["held_out"]
        reason = max(sorted(self.without_pair), key=lambda name: self.without_pair[name])
        counts = ", ".join(f"{n} {name}" for name, n in self.without_pair.most_common())
        return f"prompts: {counts}", REMEDIES.get(reason, "look at the stage's log")


def _both(pairs: Sequence[CasePair], what: str) -> dict[str, float | None]:
    """The means of a figure over the chosen and over the rejected answers."""
    values = {
        name: [v for one in pairs if (v := getattr(one, f"{name}_{what}")) is not None]
        for name in ("chosen", "rejected")
    }
    return {name: fmean(of) if of else None for name, of in values.items()}


def matches(
    case: str, prompt_id: str, samples: Sequence[Sample], max_length_ratio: float, most: int
) -> list[Match] | str:
    """At most `most` pairs of a prompt's answers. No two share the rejected one; a chosen one is
    taken again when all have been, as a policy with the fault gives few without it. Among those
    taken equally often the pairs of closest length come first. The reason, if there is none."""
    sound = [one for one in samples if one.fault is None and one.text.strip()]
    rejected = _by_text(one for one in sound if one.finding is not None)
    chosen = _by_text(one for one in sound if one.finding is None and one.clean)
    if not rejected:
        return NO_CASE
    if not chosen:
        return NO_CLEAN
    close = [pair for pair in product(chosen, rejected) if _distance(*pair) <= max_length_ratio]
    taken: Counter[str] = Counter()
    found: list[Match] = []
    while close and len(found) < most:
        one, other = min(close, key=lambda pair: (taken[pair[0].text], _distance(*pair)))
        taken[one.text] += 1
        close = [pair for pair in close if pair[1] is not other]
        found.append(Match(case, prompt_id, one, other, len(found)))
    return found or LENGTHS


def _by_text(samples: Iterable[Sample]) -> list[Sample]:
    """The first answer of each text, in the order of the texts."""
    first: dict[str, Sample] = {}
    for one in samples:
        first.setdefault(one.text, one)
    return [first[text] for text in sorted(first)]


def _distance(one: Sample, other: Sample) -> float:
    """The ratio of two lengths, from 1."""
    a, b = len(one.token_ids), len(other.token_ids)
    return max(a, b) / max(1, min(a, b))


def balanced(found: Sequence[Match], most: int, seed: int) -> list[Match]:
    """At most `most` pairs, of each case the same number as far as it has so many.

    Within a case, second pairs of a prompt come after the first ones of all others; ties are drawn
    by `seed`. The result is in the order of `found`."""
    by_case: dict[str, list[Match]] = {}
    for match in found:
        by_case.setdefault(match.case, []).append(match)
    capacity = {case: len(of) for case, of in by_case.items()}
    total = min(most, sum(capacity.values()))
    given = apportion(total, dict.fromkeys(by_case, 1), capacity)
    kept = set[int]()
    for case, of in by_case.items():
        drawn = sorted(of, key=lambda match: (match.prompt_id, match.rank))
        random.Random(f"{seed}:{case}").shuffle(drawn)
        drawn.sort(key=lambda match: match.rank)
        kept |= {id(match) for match in drawn[: given[case]]}
    return [match for match in found if id(match) in kept]
