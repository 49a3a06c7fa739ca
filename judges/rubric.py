"""A judge that rates each prompt easy, medium or hard and gives a reason.

The score is the mean rating under the probabilities of the three digits, not the digit that was
written."""

from collections.abc import Mapping, Sequence
from typing import Any

from judges.backend import Backend, Messages, Question, choose_with_retries
from judges.config import RubricJudge
from judges.texts import question, task
from judges.verdict import JudgeKind, Reply, Verdict
from prompts.schema import Prompt

LABELS = ("1", "2", "3")
"""Easy, medium, hard."""


def rated(prompt: Prompt) -> Messages:
    """The chat that asks how hard a prompt is; of a demonstration, how hard the example is: the
    question with the answer that is shown."""
    if prompt.is_demonstration:
        return question("demonstration", task=task(prompt.messages), answer=prompt.target)
    return question("rubric", task=task(prompt.messages))


class Rubric:
    """A judge that rates."""

    kind: JudgeKind = "rubric"

    def __init__(self, config: RubricJudge, backend: Backend) -> None:
        self.config, self.backend = config, backend

    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """The questions by name, each as the prompts that it is about."""
        return {prompt.id: (prompt,) for prompt in prompts}

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[dict[str, Any]]:
        """Each prompt's ratings. An unreadable one is followed by another, with more room."""
        ratings = choose_with_retries(
            self.backend, [self._question(prompt) for (prompt,) in items], self.config.retries
        )
        return [
            {"replies": [{"weights": one.weights, **one.without_weights()} for one in choices]}
            for choices in ratings
        ]

    def _question(self, prompt: Prompt) -> Question:
        return Question(rated(prompt), "Rating:", LABELS, "\nReason:", self.config.max_tokens)

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, dict[str, Any]]
    ) -> list[Verdict]:
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
    finish, how = rating.get("finish", "stop"), rating.get("how", "")
    return Reply(text, finish, tokens, max(weights, key=weights.get), mean, None, how=how)
