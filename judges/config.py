"""Settings of the judges; light, loads neither an engine nor an HTTP client."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from common.config import Config, Text
from common.judge_settings import OF_REQUEST, JudgeSettings
from rollouts.config import RolloutConfig

ROOM = 8
"""Tokens of a reply with a label, besides its reason."""


class _Judge(JudgeSettings):
    """A Llama model that rates prompts. Set exactly one of `model` (run locally with vLLM) and
    `url` (an OpenAI-compatible endpoint)."""

    of_model: ClassVar[tuple[str, ...]] = ("rollouts",)

    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine (with `model`). bfloat16 is possible here: no parity check applies to
    judges."""

    @model_validator(mode="after")
    def _replies_fit_the_engine(self) -> "_Judge":
        limit = self.rollouts.max_model_len
        if self.model is not None and self.longest >= limit:
            raise ValueError(
                f"max_tokens ({self.longest}) leaves no room for a prompt in max_model_len"
                f" ({limit})"
            )
        return self

    @property
    def longest(self) -> int:
        """Length limit of a reply in tokens, before any retry."""
        return 1

    def shown(self, capability: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """The messages that the judge sees for a prompt of `capability`."""
        return messages

    @property
    def replies(self) -> int:
        """Replies per prompt, without retries."""
        return 1

    @property
    def tokens(self) -> int:
        """Upper bound on completion tokens per prompt, with retries."""
        return self.replies

    def _label_tokens(self, reason: int, retries: int) -> int:
        """Upper bound on completion tokens of a reply with a label and a reason of `reason` tokens,
        with retries."""
        samples = self.samples if self.url is not None else 1
        return samples * sum(
            (reason + self.thinking_tokens + ROOM) * n for n in range(1, retries + 2)
        )

    def origin(self) -> dict[str, Any]:
        """The settings that affect the likelihood of a text."""
        extra = {"extra": self.extra} if self.extra else {}
        return {"model_name": self.model_name, "seed": self.seed, **self._engine(), **extra}

    def _engine(self) -> dict[str, Any]:
        return {"dtype": self.rollouts.dtype, "max_model_len": self.rollouts.max_model_len}

    def asked(self) -> dict[str, Any]:
        """The settings that affect a reply. Left out are the place where the judge runs, and
        timeouts."""
        where = {
            "model",
            "url",
            "api_key_env",
            "concurrency",
            "timeout_s",
            "patience_s",
            "rollouts",
            *OF_REQUEST,
        }
        return self.model_dump(mode="json", exclude=where) | self._engine() | self.request()


class Example(Config):
    """A solved task: a question and its answer."""

    question: Text = Field(examples=["What is 2 + 3?"])
    """The task, as the user message."""
    answer: Text = Field(examples=["5"])
    """The solution, as the assistant message."""


class AttemptsJudge(_Judge):
    """Attempts every prompt several times. The share of correct attempts estimates the
    difficulty."""

    kind: Literal["attempts"]
    attempts: int = Field(default=4, ge=1)
    """Attempts per prompt."""
    temperature: float = Field(default=0.7, gt=0)
    """Sampling temperature of the attempts."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest attempt, in tokens."""
    examples: dict[str, tuple[Example, ...]] = Field(default_factory=dict)
    """Capability to solved tasks that precede its prompts as earlier turns. They show a small model
    the form of an answer, so that its attempts end and its errors are about the task."""
    graded_by: Literal["verifier", "judge"] = "verifier"
    """Grades an attempt: the prompt's verifier, or the judge by comparing it with the reference
    answer."""
    retries: int = Field(default=1, ge=0)
    """Retries of an attempt that is unreadable, refused or cut off. A retry after a cut-off allows
    twice the length."""

    @model_validator(mode="after")
    def _label_settings_are_read(self) -> "AttemptsJudge":
        unread = self._changed(("top_logprobs", "samples"))
        if unread and self.graded_by == "verifier":
            raise ValueError(
                f"{', '.join(unread)} only apply to graded_by: judge; a verifier reads no"
                " probabilities"
            )
        return self

    @property
    def longest(self) -> int:
        return self.max_tokens

    def shown(self, capability: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """`messages` with the capability's examples after the system message."""
        turns = []
        for example in self.examples.get(capability, ()):
            turns.append({"role": "user", "content": example.question})
            turns.append({"role": "assistant", "content": example.answer})
        start = int(messages[0]["role"] == "system")
        return [*messages[:start], *turns, *messages[start:]]

    @property
    def replies(self) -> int:
        return self.attempts

    @property
    def tokens(self) -> int:
        length = self.max_tokens + self.thinking_tokens
        # Each round of attempts is graded, and a grade may be retried too.
        grading = (
            self._label_tokens(0, self.retries) * (1 + self.retries)
            if self.graded_by == "judge"
            else 0
        )
        return self.attempts * (length * (1 + 2 * self.retries) + grading)


class RubricJudge(_Judge):
    """Rates every prompt as easy, medium or hard. The score follows from the probabilities of the
    three ratings."""

    kind: Literal["rubric"]
    max_tokens: int = Field(default=48, ge=1)
    """Longest reason given with a rating, in tokens."""
    retries: int = Field(default=1, ge=0)
    """Retries of an unreadable rating, each with a higher length limit."""

    @property
    def longest(self) -> int:
        return self.max_tokens

    @property
    def tokens(self) -> int:
        return self._label_tokens(self.max_tokens, self.retries)


class PairwiseJudge(_Judge):
    """Decides which of two prompts is harder, in both orders. A Bradley-Terry model ranks all
    prompts."""

    kind: Literal["pairwise"]
    opponents: int = Field(default=4, ge=1)
    """Smallest number of other prompts that each prompt is compared with."""
    retries: int = Field(default=1, ge=0)
    """Retries of an unreadable comparison, each with a higher length limit."""

    @property
    def replies(self) -> int:
        return 2 * self.opponents

    @property
    def tokens(self) -> int:
        return self.replies * self._label_tokens(0, self.retries)


JudgeConfig = Annotated[AttemptsJudge | RubricJudge | PairwiseJudge, Field(discriminator="kind")]
"""A model that rates the difficulty of prompts."""
