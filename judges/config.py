"""Settings of the judges; light, loads neither an engine nor an HTTP client."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Config
from rollouts.config import RolloutConfig


class AttemptsJudge(Config):
    """A model that tries every prompt a few times; the share a verifier accepts says how hard the prompt is.

    Names exactly one origin: `model` (run here, through vLLM) or `url` (an OpenAI-compatible endpoint).
    """

    kind: Literal["attempts"]
    model: str | None = None
    """A dense Llama: `smollm2-135m-instruct` or a checkpoint folder."""
    url: str | None = None
    """Base URL of an OpenAI-compatible endpoint, such as `http://localhost:8000/v1`."""
    model_name: str | None = None
    """What the endpoint calls the model (with `url`)."""
    api_key_env: str | None = None
    """Environment variable that holds the endpoint's key (with `url`); left out, no key is sent."""
    attempts: int = Field(default=4, ge=1)
    """Completions a prompt."""
    temperature: float = Field(default=0.7, gt=0)
    """Sampling temperature of the attempts."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest attempt, in tokens."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine (with `model`). Nothing is trained against a judge, so it may compute in bfloat16."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> "AttemptsJudge":
        if (self.model is None) == (self.url is None):
            raise ValueError(f"name exactly one of model and url; got {'neither' if self.model is None else 'both'}")
        # By value, not by what was written: a config that went through JSON must read back the same.
        others = ("rollouts",) if self.url is not None else ("model_name", "api_key_env")
        unread = [name for name in others if getattr(self, name) != type(self).model_fields[name].default]
        if unread:
            raise ValueError(f"{', '.join(unread)} only apply to {'model' if self.url is not None else 'url'}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {self.url!r}")
        if self.url is not None and not self.model_name:
            raise ValueError("url needs model_name: what the endpoint calls the model")
        if self.model is not None and self.max_tokens >= self.rollouts.max_model_len:
            limit = self.rollouts.max_model_len
            raise ValueError(f"max_tokens ({self.max_tokens}) leaves no room for a prompt in max_model_len ({limit})")
        return self
