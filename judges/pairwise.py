"""A judge that says which of two prompts is harder. A Bradley-Terry model over a sparse set of
comparisons, each in both orders, ranks all prompts.

A prompt's opponents are those nearest to it by a hash of the pair. They depend on the texts alone,
so a larger pool asks only for comparisons with the new prompts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import BadInput
from common.seeds import derive
from judges.backend import Backend, Question, choose_with_retries, last_choice
from judges.config import PairwiseJudge
from judges.texts import question, task
from judges.verdict import JudgeKind, Reply, Verdict
from prompts.schema import Prompt

LABELS = ("A", "B")
PRIOR = 0.1
"""Weight of the Gaussian prior on log-strengths. It keeps the strength of a prompt that won every
comparison finite."""


class Pairwise:
    """A judge that compares."""

    kind: JudgeKind = "pairwise"

    def __init__(self, config: PairwiseJudge, backend: Backend) -> None:
        self.config, self.backend = config, backend
        self._texts: tuple[str, ...] = ()
        self._pairs: list[tuple[int, int]] = []

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """The comparisons by name: every pair in both orders."""
        if len(prompts) < 2:
            raise BadInput(
                f"a pairwise judge compares prompts, and there are {len(prompts)}",
                "judge two or more",
            )
        texts = tuple(task(prompt.messages) for prompt in prompts)
        if texts != self._texts:
            self._texts, self._pairs = (
                texts,
                tournament(texts, self.config.opponents, self.config.seed),
            )
        orders = [order for one, other in self._pairs for order in ((one, other), (other, one))]
        return {_name(prompts[a].id, prompts[b].id): (prompts[a], prompts[b]) for a, b in orders}

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[dict[str, Any]]:
        """For each pair, the probability that its first prompt is the harder one."""
        questions = [_question(first, second) for first, second in items]
        choices = [
            last_choice(replies)
            for replies in choose_with_retries(self.backend, questions, self.config.retries)
        ]
        return [
            {
                "replies": [
                    {
                        "first": choice.weights["A"] if choice.weights else None,
                        **choice.without_weights(),
                    }
                ]
            }
            for choice in choices
        ]

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]
    ) -> list[Verdict]:
        """Ease is 1 minus the probability of being harder than the mean prompt; None for a prompt
        that was never compared."""
        place = {prompt.id: n for n, prompt in enumerate(prompts)}
        replies: defaultdict[str, list[Reply]] = defaultdict(list)
        outcomes = []
        for first, second in self.items(prompts).values():
            (raw,) = answers[_name(first.id, second.id)]["replies"]
            p = raw["first"]
            if p is not None:
                outcomes.append((place[first.id], place[second.id], p))
            replies[first.id].append(_reply(raw, p, second.id, first=True))
            replies[second.id].append(_reply(raw, _complement(p), first.id, first=False))
        strengths = bradley_terry(len(prompts), outcomes)
        compared = {n for one, other, _ in outcomes for n in (one, other)}
        eases = 1 / (1 + np.exp(strengths))
        return [
            Verdict(p.id, "pairwise", replies[p.id], float(eases[n]) if n in compared else None)
            for n, p in enumerate(prompts)
        ]


def _reply(raw: Mapping[str, Any], value: float | None, other: str, first: bool) -> Reply:
    """A comparison as the reply about one of its two prompts. The tokens count for the first."""
    finish = "none" if value is None else raw.get("finish", "stop")
    tokens = raw["tokens"] if first else 0
    how = raw.get("how", "")
    return Reply(raw["text"], finish, tokens, None, value, raw["fault"], other, first, how)


def position_bias(verdicts: Sequence[Verdict]) -> float | None:
    """Mean probability that the first task is the harder one, minus 1/2; None without
    comparisons."""
    firsts = [reply.value for verdict in verdicts for reply in verdict.replies if reply.first]
    known = [value for value in firsts if value is not None]
    return sum(known) / len(known) - 0.5 if known else None


def tournament(texts: Sequence[str], opponents: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of indices into `texts`, without repeats.

    Each index is in at least `opponents` pairs, or paired with all others if there are fewer."""
    count = len(texts)
    keys = np.array([derive(seed, "tournament", text) for text in texts], dtype=np.uint64)
    pairs: set[tuple[int, int]] = set()
    for place in range(count):
        distance = _hashed(keys ^ keys[place])
        # Prompts with the same text have equal distances to all others, so the index breaks ties.
        near = np.argpartition(distance, min(opponents, count - 1))[: opponents + 1]
        nearest = sorted(near.tolist(), key=lambda n: (n == place, distance[n], n))
        others = [n for n in nearest if n != place][:opponents]
        pairs |= {(min(place, n), max(place, n)) for n in others}
    return sorted(pairs)


def bradley_terry(count: int, outcomes: Sequence[tuple[int, int, float]]) -> NDArray[np.float64]:
    """Log-strengths with mean 0, from (one, other, probability that one is harder).

    Maximum a posteriori of the Bradley-Terry model with soft outcomes and a Gaussian prior of
    weight PRIOR, by Newton's method. R. A. Bradley and M. E. Terry (1952), Rank analysis of
    incomplete block designs. Biometrika 39, 324-345."""
    strengths = np.zeros(count)
    if not outcomes:
        return strengths
    one, other = np.array([a for a, _, _ in outcomes]), np.array([b for _, b, _ in outcomes])
    won = np.array([p for _, _, p in outcomes])
    for _ in range(100):
        expected = 1 / (1 + np.exp(strengths[other] - strengths[one]))
        gradient, curvature = -PRIOR * strengths, np.full(count, PRIOR)
        np.add.at(gradient, one, won - expected)
        np.add.at(gradient, other, expected - won)
        for places in (one, other):
            np.add.at(curvature, places, expected * (1 - expected))
        # The Hessian is at most twice its diagonal, so half a diagonal Newton step never
        # overshoots.
        step = gradient / curvature / 2
        strengths += step
        if np.abs(step).max() < 1e-9:
            break
    result: NDArray[np.float64] = strengths - strengths.mean()
    return result


def _hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each value (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return hashed


def _question(first: Prompt, second: Prompt) -> Question:
    parts = {"first": task(first.messages), "second": task(second.messages)}
    return Question(question("pairwise", **parts), "Harder:", LABELS)


def _name(first: str, second: str) -> str:
    return f"{first} against {second}"


def _complement(p: float | None) -> float | None:
    return None if p is None else 1 - p
