"""Which of two prompts is harder, asked in both orders, over a sparse tournament; a Bradley-Terry
model ranks all.

Whom a prompt is compared with depends on the two prompts alone (the nearest of all by a hash of the
pair), so a larger pool asks only for comparisons with the new ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import BadInput
from common.seeds import derive
from judges.backend import Backend, Question, choose_again, in_one
from judges.config import PairwiseJudge
from judges.texts import question, task
from judges.verdict import Kind, Reply, Verdict
from prompts.schema import Prompt

LABELS = ("A", "B")
PRIOR = 0.1
"""Weight of the prior in the fit (a Gaussian on log-strengths): keeps a prompt that won everything
finite."""


class Pairwise:
    """A judge that compares."""

    kind: Kind = "pairwise"

    def __init__(self, config: PairwiseJudge, source: Backend) -> None:
        self.config, self.source = config, source
        self._texts: tuple[str, ...] = ()
        self._pairs: list[tuple[int, int]] = []

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """Every pair in both orders, by name."""
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
        """Of each pair the probability that the first is the harder one."""
        questions = [_question(first, second) for first, second in items]
        found = [in_one(said) for said in choose_again(self.source, questions, self.config.retries)]
        return [
            {"replies": [{"first": c.weights["A"] if c.weights else None, **c.said()}]}
            for c in found
        ]

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]
    ) -> list[Verdict]:
        """Ease is 1 less the probability to be harder than the mean prompt; None for a prompt never
        compared."""
        place = {prompt.id: n for n, prompt in enumerate(prompts)}
        replies: defaultdict[str, list[Reply]] = defaultdict(list)
        harder = []
        for first, second in self.items(prompts).values():
            (said,) = answers[_name(first.id, second.id)]["replies"]
            p = said["first"]
            if p is not None:
                harder.append((place[first.id], place[second.id], p))
            for mine, other, value, tokens in (
                (first, second, p, said["tokens"]),
                (second, first, _less(p), 0),
            ):
                finish, how = (
                    "none" if p is None else said.get("finish", "stop"),
                    said.get("how", ""),
                )
                reply = Reply(
                    said["text"],
                    finish,
                    tokens,
                    None,
                    value,
                    said["fault"],
                    other.id,
                    mine is first,
                    how,
                )
                replies[mine.id].append(reply)
        strengths = bradley_terry(len(prompts), harder)
        compared = {n for one, other, _ in harder for n in (one, other)}
        eases = 1 / (1 + np.exp(strengths))
        return [
            Verdict(p.id, "pairwise", replies[p.id], float(eases[n]) if n in compared else None)
            for n, p in enumerate(prompts)
        ]


def position_bias(verdicts: Sequence[Verdict]) -> float | None:
    """Mean probability given to the task that stands first, less 1/2; None without comparisons."""
    firsts = [reply.value for verdict in verdicts for reply in verdict.replies if reply.first]
    known = [value for value in firsts if value is not None]
    return sum(known) / len(known) - 0.5 if known else None


def tournament(texts: Sequence[str], opponents: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of places, each place in at least `opponents` of them (or in all there are), none
    twice."""
    count = len(texts)
    keys = np.array([derive(seed, "tournament", text) for text in texts], dtype=np.uint64)
    pairs: set[tuple[int, int]] = set()
    for place in range(count):
        distance = _mixed(keys ^ keys[place])
        # Two prompts with the same words are at distance 0 of everyone alike: the place tells them
        # apart.
        near = np.argpartition(distance, min(opponents, count - 1))[: opponents + 1]
        nearest = sorted(near.tolist(), key=lambda n: (n == place, distance[n], n))
        others = [n for n in nearest if n != place][:opponents]
        pairs |= {(min(place, n), max(place, n)) for n in others}
    return sorted(pairs)


def bradley_terry(count: int, harder: Sequence[tuple[int, int, float]]) -> NDArray[np.float64]:
    """Log-strengths, mean 0, from (one, other, probability that one is harder).

    Maximum a posteriori of the Bradley-Terry model with soft outcomes and a Gaussian prior of
    weight PRIOR, by Newton's method. R. A. Bradley and M. E. Terry (1952), Rank analysis of
    incomplete block designs. Biometrika 39, 324-345."""
    strengths = np.zeros(count)
    if not harder:
        return strengths
    one, other = np.array([a for a, _, _ in harder]), np.array([b for _, b, _ in harder])
    won = np.array([p for _, _, p in harder])
    for _ in range(100):
        expected = 1 / (1 + np.exp(strengths[other] - strengths[one]))
        gradient, curvature = -PRIOR * strengths, np.full(count, PRIOR)
        np.add.at(gradient, one, won - expected)
        np.add.at(gradient, other, expected - won)
        for places in (one, other):
            np.add.at(curvature, places, expected * (1 - expected))
        # The diagonal bounds the curvature from below by half, so half a step never overshoots.
        step = gradient / curvature / 2
        strengths += step
        if np.abs(step).max() < 1e-9:
            break
    result: NDArray[np.float64] = strengths - strengths.mean()
    return result


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each value (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def _question(first: Prompt, second: Prompt) -> Question:
    parts = {"first": task(first.messages), "second": task(second.messages)}
    return Question(question("pairwise", **parts), "Harder:", LABELS)


def _name(first: str, second: str) -> str:
    return f"{first} against {second}"


def _less(p: float | None) -> float | None:
    return None if p is None else 1 - p
