"""Settings of the judges; light, loads neither an engine nor an HTTP client."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from common.config import Config, Text
from models.config import ModelFolder
from rollouts.config import RolloutConfig

ROOM = 8
"""Tokens that a reply with a label may take besides its reason."""
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
    {
        "model",
        "messages",
        "stream",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "seed",
        "temperature",
        "logprobs",
    }
    | {"top_logprobs", "prompt_logprobs", "add_generation_prompt", "continue_final_message"}
)
"""Request parameters that `extra` cannot set."""


class _Judge(Config):
    """A Llama that is asked about prompts.

    Names exactly one origin: `model` (run here, through vLLM) or `url` (an OpenAI-compatible
    endpoint)."""

    model: ModelFolder | None = Field(default=None, examples=["smollm2-135m-instruct"])
    """A dense Llama: `smollm2-135m-instruct` or a checkpoint folder."""
    url: str | None = Field(default=None, examples=["http://localhost:8000/v1"])
    """Base URL of an OpenAI-compatible endpoint, such as `http://localhost:8000/v1`."""
    model_name: str | None = Field(default=None, examples=["llama-4-scout"])
    """What the endpoint calls the model (with `url`)."""
    api_key_env: str | None = Field(default=None, examples=["JUDGE_KEY"])
    """Environment variable that holds the endpoint's key (with `url`); left out, no key is sent."""
    concurrency: int = Field(default=8, ge=1)
    """Requests in flight at once (with `url`)."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Longest wait for one response, in seconds (with `url`)."""
    patience_s: float = Field(default=120.0, ge=0)
    """How long an endpoint that cannot be reached any more is waited for, in seconds (with
    `url`)."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further request parameters, such as `{reasoning_effort: low}` (with `url`). Records keep
    them: no secrets."""
    leave_out: tuple[Literal["seed", "temperature", "n"], ...] = ()
    """Request parameters that are not sent: replies cannot be repeated, are sampled at the
    endpoint's own temperature, come one a request (with `url`)."""
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the longest reply (with `url`)."""
    top_logprobs: int = Field(default=20, ge=0, le=20)
    """Likeliest tokens that a rating, comparison or grade is read from; 0: it is sampled instead
    (with `url`)."""
    samples: int = Field(default=5, ge=1)
    """Replies whose share of each label stands for its probability, without log-probabilities (with
    `url`)."""
    thinking_tokens: int = Field(default=0, ge=0)
    """Tokens of reasoning that may come before a reply, on top of its own (with `url`)."""
    seed: int = 0
    """Seed of the sampling. Not the recipe's: the same judge says the same of a prompt in every
    run."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine (with `model`). Nothing is trained against a judge, so it may compute in
    bfloat16."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "_Judge":
        if (self.model is None) == (self.url is None):
            raise ValueError(
                "name exactly one of model and url; got"
                f" {'neither' if self.model is None else 'both'}"
            )
        # By value, not by what was written: a config that went through JSON must read back the
        # same.
        others = _OF_MODEL if self.url is not None else _OF_URL
        fields = type(self).model_fields
        unread = [
            name
            for name in others
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]
        if unread:
            raise ValueError(
                f"{', '.join(unread)} only apply to {'model' if self.url is not None else 'url'}"
            )
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {self.url!r}")
        if self.url is not None and "@" in self.url.split("/")[2]:
            raise ValueError(
                "url must not hold a name or password: records keep it; give a key with api_key_env"
            )
        if self.url is not None and not self.model_name:
            raise ValueError("url needs model_name: what the endpoint calls the model")
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
        return self

    @property
    def longest(self) -> int:
        """Tokens of the longest reply at the first time of asking."""
        return 1

    def shown(self, capability: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """What a judge that answers a prompt of `capability` is given in place of its messages."""
        return messages

    @property
    def replies(self) -> int:
        """Replies asked for a prompt, repetitions aside."""
        return 1

    @property
    def tokens(self) -> int:
        """Completion tokens that a prompt may take, repetitions included."""
        return self.replies

    def _choosing(self, reason: int, retries: int) -> int:
        """Completion tokens that a reply with a label may take, with a reason of so many,
        repetitions included."""
        samples = self.samples if self.url is not None else 1
        return samples * sum(
            (reason + self.thinking_tokens + ROOM) * n for n in range(1, retries + 2)
        )

    def origin(self) -> dict[str, Any]:
        """What of the settings decides what a text's likelihood is."""
        extra = {"extra": self.extra} if self.extra else {}
        return {"model_name": self.model_name, "seed": self.seed, **self._engine(), **extra}

    def _engine(self) -> dict[str, Any]:
        return {"dtype": self.rollouts.dtype, "max_model_len": self.rollouts.max_model_len}

    def asked(self) -> dict[str, Any]:
        """What of the settings decides a reply: not where the judge runs, nor how patiently it is
        asked.

        Nor what a request calls its length or how many come in one. What an endpoint turns out to
        refuse is not here either: that follows from the endpoint, and each reply says how it was
        come by."""
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
    """A solved task."""

    question: Text = Field(examples=["What is 2 + 3?"])
    answer: Text = Field(examples=["5"])


class AttemptsJudge(_Judge):
    """Tries every prompt a few times; the share that is right says how hard the prompt is."""

    kind: Literal["attempts"]
    attempts: int = Field(default=4, ge=1)
    """Completions a prompt."""
    temperature: float = Field(default=0.7, gt=0)
    """Sampling temperature of the attempts."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest attempt, in tokens."""
    examples: dict[str, tuple[Example, ...]] = Field(default_factory=dict)
    """By capability: solved tasks that come before its prompts, as earlier turns. They show a small
    model the form of an answer, so that its attempts end, and what it gets wrong is the task."""
    graded_by: Literal["verifier", "judge"] = "verifier"
    """Who grades an attempt: the prompt's verifier, or the judge against the reference answer."""
    retries: int = Field(default=1, ge=0)
    """Times that an attempt is asked for again which is unreadable, refused or cut off (then at
    twice the length)."""

    @model_validator(mode="after")
    def _labels_are_read(self) -> "AttemptsJudge":
        fields = type(self).model_fields
        unread = [
            name
            for name in ("top_logprobs", "samples")
            if getattr(self, name) != fields[name].default
        ]
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
        """`messages` with the capability's examples right after the system message."""
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
        # Each round of attempts is graded, and a grade may itself be asked for again.
        grading = (
            self._choosing(0, self.retries) * (1 + self.retries) if self.graded_by == "judge" else 0
        )
        return self.attempts * (length * (1 + 2 * self.retries) + grading)


class RubricJudge(_Judge):
    """Rates every prompt easy, medium or hard; the probabilities of the three ratings make the
    score."""

    kind: Literal["rubric"]
    max_tokens: int = Field(default=48, ge=1)
    """Longest reason, in tokens."""
    retries: int = Field(default=1, ge=0)
    """Times that an unreadable rating is asked for again, each time with more room."""

    @property
    def longest(self) -> int:
        return self.max_tokens

    @property
    def tokens(self) -> int:
        return self._choosing(self.max_tokens, self.retries)


class PairwiseJudge(_Judge):
    """Says which of two prompts is harder, in both orders; a Bradley-Terry model ranks all."""

    kind: Literal["pairwise"]
    opponents: int = Field(default=4, ge=1)
    """Prompts that each one is compared with, at least."""
    retries: int = Field(default=1, ge=0)
    """Times that an unreadable comparison is asked for again, each time with more room."""

    @property
    def replies(self) -> int:
        return 2 * self.opponents

    @property
    def tokens(self) -> int:
        return self.replies * self._choosing(0, self.retries)


JudgeConfig = Annotated[AttemptsJudge | RubricJudge | PairwiseJudge, Field(discriminator="kind")]
"""Who says how hard a prompt is."""
