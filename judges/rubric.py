"""How hard a prompt looks to a model: easy, medium or hard, with a reason.

The score is the mean rating under the probabilities of the three digits, not the digit that was written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from judges.config import RubricJudge
from judges.source import Question, Source
from judges.texts import question, task
from judges.verdict import REPEATED, Kind, Reply, Verdict
from prompts.schema import Prompt

LABELS = ("1", "2", "3")
"""Easy, medium, hard."""


class Rubric:
    """A judge that rates."""

    kind: Kind = "rubric"

    def __init__(self, config: RubricJudge, source: Source) -> None:
        self.config, self.source = config, source

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """What to ask, by name."""
        return {prompt.id: (prompt,) for prompt in prompts}

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[dict[str, Any]]:
        """Each prompt's rating; an unreadable one is asked for again, with twice the room."""
        found: list[list[dict[str, Any]]] = [[] for _ in items]
        for round_ in range(self.config.retries + 1):
            places = [place for place, said in enumerate(found) if not said or said[-1]["fault"] in REPEATED]
            choices = self.source.choose([self._question(items[place][0], round_) for place in places])
            for place, choice in zip(places, choices, strict=True):
                found[place].append({"weights": choice.weights, **choice.said()})
        return [{"replies": said} for said in found]

    def _question(self, prompt: Prompt, round_: int) -> Question:
        messages = question("rubric", task=task(prompt.messages))
        return Question(messages, "Rating:", LABELS, "\nReason:", self.config.max_tokens * (round_ + 1))

    def verdicts(self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]) -> list[Verdict]:
        return [_verdict(prompt, answers[prompt.id]["replies"]) for prompt in prompts]


def _verdict(prompt: Prompt, ratings: Sequence[Mapping[str, Any]]) -> Verdict:
    replies = [_reply(rating) for rating in ratings]
    values = [reply.value for reply in replies if reply.value is not None]
    ease = 1 - (sum(values) / len(values) - 1) / 2 if values else None
    return Verdict(prompt.id, "rubric", replies, ease)


def _reply(rating: Mapping[str, Any]) -> Reply:
    text, tokens, weights = rating["text"], rating["tokens"], rating["weights"]
    if rating["fault"] is not None:
        return Reply(text, "none", tokens, None, None, rating["fault"])
    mean = sum(int(label) * weight for label, weight in weights.items())
    return Reply(text, "stop", tokens, max(weights, key=weights.get), mean, None)
