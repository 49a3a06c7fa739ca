"""Settings of the judges; light, loads neither an engine nor an HTTP client."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from common.config import Config, Text
from models.config import ModelFolder
from rollouts.config import RolloutConfig

ROOM = 8
"""Tokens of a reply with a label, besides its reason."""
_OF_MODEL = ("rollouts",)
_OF_REQUEST = (
    "extra",
    "leave_out",
    "length_parameter",
    "top_logprobs",
    "samples",
    "thinking_tokens",
)
_OF_URL = ("model_name", "api_key_env", "concurrency", "timeout_s", "patience_s", *_OF_REQUEST)
_OURS = frozenset(
    {"model", "messages", "stream", "max_tokens", "max_completion_tokens", "n", "seed"}
    | {"temperature", "logprobs", "top_logprobs", "prompt_logprobs"}
    | {"add_generation_prompt", "continue_final_message"}
)
"""Request parameters that `extra` cannot set."""


class _Judge(Config):
    """A Llama model that rates prompts. Set exactly one of `model` (run locally with vLLM) and
    `url` (an OpenAI-compatible endpoint)."""

    model: ModelFolder | None = Field(default=None, examples=["smollm2-135m-instruct"])
    """A dense Llama: `smollm2-135m-instruct` or a checkpoint folder."""
    url: str | None = Field(default=None, examples=["http://localhost:8000/v1"])
    """Base URL of an OpenAI-compatible endpoint, such as `http://localhost:8000/v1`."""
    model_name: str | None = Field(default=None, examples=["llama-4-scout"])
    """Name of the model at the endpoint (with `url`)."""
    api_key_env: str | None = Field(default=None, examples=["JUDGE_KEY"])
    """Environment variable that holds the endpoint's key (with `url`); not set: no key is sent."""
    concurrency: int = Field(default=8, ge=1)
    """Largest number of concurrent requests (with `url`)."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Timeout of one request, in seconds (with `url`)."""
    patience_s: float = Field(default=120.0, ge=0)
    """How long to wait for an endpoint that has become unreachable, in seconds (with `url`)."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further request parameters, such as `{reasoning_effort: low}` (with `url`). They are stored
    in records, so do not put secrets here."""
    leave_out: tuple[Literal["seed", "temperature", "n"], ...] = ()
    """Request parameters that are not sent (with `url`). Without `seed`, replies are not
    reproducible; without `temperature`, the endpoint's default applies; without `n`, each request
    returns one reply."""
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of the request parameter for the length limit of a reply (with `url`)."""
    top_logprobs: int = Field(default=20, ge=0, le=20)
    """Number of likeliest tokens from whose probabilities a rating, comparison or grade is read; 0:
    labels are sampled instead (with `url`)."""
    samples: int = Field(default=5, ge=1)
    """Replies per question without log-probabilities: the share of a label among them estimates its
    probability (with `url`)."""
    thinking_tokens: int = Field(default=0, ge=0)
    """Tokens of reasoning allowed before a reply, in addition to the reply's own (with `url`)."""
    seed: int = 0
    """Seed of the sampling. It is independent of the recipe's seed, so that a judge gives the same
    verdicts in every run."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine (with `model`). bfloat16 is possible here: no parity check applies to
    judges."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "_Judge":
        if (self.model is None) == (self.url is None):
            raise ValueError(
                "name exactly one of model and url; got"
                f" {'neither' if self.model is None else 'both'}"
            )
        # Compare values, not the fields that were set: a config must survive a round trip through
        # JSON.
        unread = self._changed(_OF_MODEL if self.url is not None else _OF_URL)
        if unread:
            raise ValueError(
                f"{', '.join(unread)} only apply to {'model' if self.url is not None else 'url'}"
            )
        if self.url is not None:
            self._require_valid_url(self.url)
        self._require_valid_requests()
        return self

    def _changed(self, names: Sequence[str]) -> list[str]:
        """Those of the fields `names` whose values differ from the defaults."""
        fields = type(self).model_fields
        return [
            name
            for name in names
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]

    def _require_valid_url(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {url!r}")
        if "@" in url.split("/")[2]:
            raise ValueError(
                "url must not hold a name or password: it is stored in records; give a key with"
                " api_key_env"
            )
        if not self.model_name:
            raise ValueError("url needs model_name: the name of the model at the endpoint")

    def _require_valid_requests(self) -> None:
        taken = sorted(_OURS & self.extra.keys())
        if taken:
            raise ValueError(
                f"extra must not hold {', '.join(taken)}: the judge's own settings decide them"
            )
        if self.model is not None and self.longest >= self.rollouts.max_model_len:
            limit = self.rollouts.max_model_len
            raise ValueError(
                f"max_tokens ({self.longest}) leaves no room for a prompt in max_model_len"
                f" ({limit})"
            )

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
        """The settings that affect a reply.

        Left out are the place where the judge runs, timeouts, and the form of requests. Parameters
        that an endpoint turns out to refuse are left out too: they follow from the endpoint, and
        each reply records how it was obtained."""
        where = {
            "model",
            "url",
            "api_key_env",
            "concurrency",
            "timeout_s",
            "patience_s",
            "rollouts",
            *_OF_REQUEST,
        }
        request = {
            "extra": self.extra,
            "own_temperature": "temperature" in self.leave_out,
            "top_logprobs": self.top_logprobs,
            "samples": self.samples,
            "thinking_tokens": self.thinking_tokens,
        }
        of_url = {"request": request} if self.url is not None else {}
        return self.model_dump(mode="json", exclude=where) | self._engine() | of_url


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
