"""What a judge is: a Llama model that answers questions, in a folder or behind a URL; light.

Judges that rate prompts (`judges/config.py`) and rewards that ask a judge (`prompts/parts.py`) have
these fields."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from common.config import Config
from common.user_files import ModelFolder

OF_REQUEST = (
    "extra",
    "leave_out",
    "length_parameter",
    "top_logprobs",
    "samples",
    "thinking_tokens",
)
_OF_URL = ("model_name", "api_key_env", "concurrency", "timeout_s", "patience_s", *OF_REQUEST)
_OURS = frozenset(
    {"model", "messages", "stream", "max_tokens", "max_completion_tokens", "n", "seed"}
    | {"temperature", "logprobs", "top_logprobs", "prompt_logprobs"}
    | {"add_generation_prompt", "continue_final_message"}
)
"""Request parameters that `extra` cannot set."""


class JudgeSettings(Config):
    """A Llama model that judges. Set exactly one of `model` (run locally with vLLM) and `url` (an
    OpenAI-compatible endpoint)."""

    of_model: ClassVar[tuple[str, ...]] = ()
    """The fields of a kind of judge that only apply with `model`."""

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

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "JudgeSettings":
        if (self.model is None) == (self.url is None):
            raise ValueError(
                "name exactly one of model and url; got"
                f" {'neither' if self.model is None else 'both'}"
            )
        # Compare values, not the fields that were set: a config must survive a round trip through
        # JSON.
        unread = self._changed(self.of_model if self.url is not None else _OF_URL)
        if unread:
            raise ValueError(
                f"{', '.join(unread)} only apply to {'model' if self.url is not None else 'url'}"
            )
        if self.url is not None:
            self._require_valid_url(self.url)
        self._require_valid_extra()
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

    def _require_valid_extra(self) -> None:
        taken = sorted(_OURS & self.extra.keys())
        if taken:
            raise ValueError(
                f"extra must not hold {', '.join(taken)}: the judge's own settings decide them"
            )

    def request(self) -> dict[str, Any]:
        """The settings of requests that affect a reply; empty with `model`.

        Left out are the form of requests, and parameters that an endpoint turns out to refuse: they
        follow from the endpoint, and each reply records how it was obtained."""
        if self.url is None:
            return {}
        return {
            "request": {
                "extra": self.extra,
                "own_temperature": "temperature" in self.leave_out,
                "top_logprobs": self.top_logprobs,
                "samples": self.samples,
                "thinking_tokens": self.thinking_tokens,
            }
        }
