"""The verifier `compare`: a judge ranks the answers to a prompt, each against its successor only.

The distinct answers of a group form a ring in the order of the group. Each is compared with the
next one, the last with the first, in both orders: N pairs instead of N(N - 1)/2. With p the mean
probability over both orders that answer i is better than the next one, log(p / (1 - p)) estimates
the difference of their Bradley-Terry strengths (R. A. Bradley and M. E. Terry, 1952, Biometrika 39,
324-345). Around a ring the differences add up to 0; the least-squares fit takes the mean of what is
left from each. The reward of an answer is its mean probability of being better than another answer
of the group under these strengths. So the rewards of a group have the mean 1/2.

Errors add up along the ring: neighbours are told apart best, answers that are half a ring apart
worst. A judge that is sure of every comparison still orders all answers. The reward is relative:
it says nothing about whether the group as a whole is good."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from judges.backend import Choice, Question
from judges.open_judge import Judges
from judges.reward_checks import check_reference, fault_of, reference_part, require_judge
from judges.texts import question, task
from prompts.judge_parts import ComparePart
from prompts.part import RewardPart
from prompts.schema import Prompt
from rewards.interface import Answer, OpenVerifier, Resources, Result, Verifier

LABELS = ("A", "B")
NEUTRAL = 0.5
"""The reward of an answer with nothing to compare it with: the mean of every group."""
SUREST = 0.99
"""A comparison counts as no surer than that, so that a single one does not outweigh all others."""


class Compare(Verifier):
    """Grades answers by comparing them with each other."""

    slow = True

    def __init__(self, judges: Judges) -> None:
        self._judges = judges

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """BadPrompt where the judge would see a reference answer that is missing."""
        assert isinstance(part, ComparePart)
        check_reference(prompt, part)

    def require(self, part: RewardPart) -> None:
        """BadInput where the judge cannot be asked."""
        assert isinstance(part, ComparePart)
        require_judge(part)

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, ComparePart)
        return OpenCompare(part, self._judges, resources)


class OpenCompare(OpenVerifier):
    """The judge that compares."""

    def __init__(self, part: ComparePart, judges: Judges, resources: Resources) -> None:
        self._part, self._judges = part, judges
        self._judge = judges.open(part, resources)

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        texts = list(dict.fromkeys(answer.text for answer in answers))
        if len(texts) < 2:
            return [Result(NEUTRAL) for _ in answers]
        pairs = ring(len(texts))
        questions = [
            self._question(prompt, texts[first], texts[second])
            for one, other in pairs
            for first, second in ((one, other), (other, one))
        ]
        choices = self._judge.choose(questions)
        both = list(zip(choices[::2], choices[1::2], strict=True))
        strength = strengths(len(texts), [_better(*two) for two in both])
        results = _results(answers, dict(zip(texts, strength, strict=True)), _fault(choices))
        tokens = sum(one.tokens for one in choices)
        return [replace(results[0], judge_tokens=tokens), *results[1:]]

    def _question(self, prompt: Prompt, first: str, second: str) -> Question:
        name, reference = reference_part("better", prompt, self._part)
        parts = {"task": task(prompt.messages), "criterion": self._part.criterion}
        parts |= {"first": first, "second": second}
        return Question(question(name, **parts, **reference), "Better:", LABELS)

    def close(self) -> None:
        self._judges.close(self._part)


def ring(count: int) -> list[tuple[int, int]]:
    """Each place with its successor; two places are one pair."""
    return [(0, 1)] if count == 2 else [(n, (n + 1) % count) for n in range(count)]


def _better(first: Choice, second: Choice) -> float | None:
    """Probability that the first of two answers is better, from both orders; None without one of
    them, whose bias to a place would stay."""
    if first.weights is None or second.weights is None:
        return None
    return (first.weights["A"] + second.weights["B"]) / 2


def _fault(choices: Sequence[Choice]) -> str | None:
    return next((fault_of(one) for one in choices if one.weights is None), None)


def _results(
    answers: Sequence[Answer], strength: Mapping[str, float | None], fault: str | None
) -> list[Result]:
    """The results of a group, from the strength of each text."""
    own = [strength[answer.text] for answer in answers]
    known = [value for value in own if value is not None]
    return [Result(fault=fault) if value is None else Result(beaten(value, known)) for value in own]


def strengths(count: int, better: Sequence[float | None]) -> list[float | None]:
    """Bradley-Terry strengths of the places of a ring, up to a constant, from the probability that
    each is better than its successor (None: unknown; of two places there is one pair).

    Without one pair the ring is a chain. Without several it falls apart into chains that nothing
    connects: the longest one has strengths, the first of equal ones, and the others None."""
    steps = [None if p is None else log_odds(p) for p in better]
    steps += [None] * (count - len(steps))
    if None not in steps:
        excess = math.fsum(step for step in steps if step is not None) / count
        steps = [None if step is None else step - excess for step in steps]
    places = _longest_chain(steps)
    result: list[float | None] = [None] * count
    at = 0.0
    for place in places if len(places) > 1 else []:
        result[place] = at
        at -= steps[place] or 0.0
    return result


def _longest_chain(steps: Sequence[float | None]) -> list[int]:
    """The places along the longest run of known steps, the place that its last step leads to
    included."""
    count = len(steps)
    gaps = [place for place, step in enumerate(steps) if step is None] or [count - 1]
    ends = [*gaps[1:], gaps[0] + count]
    chains = [
        [place % count for place in range(gap + 1, end + 1)]
        for gap, end in zip(gaps, ends, strict=True)
    ]
    return max(sorted(chains), key=len)


def log_odds(p: float) -> float:
    """The logit of a probability that is at most SUREST either way."""
    p = min(max(p, 1 - SUREST), SUREST)
    return math.log(p / (1 - p))


def beaten(own: float, strengths: Sequence[float]) -> float:
    """Mean probability that an answer of strength `own` is better than another one of the group,
    whose `strengths` contain its own."""
    wins = math.fsum(1 / (1 + math.exp(other - own)) for other in strengths) - NEUTRAL
    return min(1.0, max(0.0, wins / (len(strengths) - 1)))
