"""Settings of evaluation suites; light, loads no data."""

from typing import Any, Literal

from pydantic import Field, model_validator

from common.config import Config, Text

SuiteName = Literal["held_out", "gsm8k", "basic_arithmetic"]
MAX_TOKENS = {"held_out": 64, "gsm8k": 256, "basic_arithmetic": 32}
"""Suite to its longest answer in tokens, if the recipe sets none."""


class SuiteConfig(Config):
    """An evaluation suite. A plain name in the recipe means the suite with its defaults."""

    name: SuiteName
    """`held_out` (the held-out prompts of the recipe) or a packaged public test set."""
    limit: int | None = Field(default=None, ge=2, examples=[100])
    """Use only this many prompts, half of them in the dev part and half in the final part, the same
    ones for every checkpoint; not set: all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; not set: the suite's own length (`held_out` 64, `gsm8k` 256,
    `basic_arithmetic` 32)."""
    system: Text | None = None
    """System message for prompts that have none."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward from which an answer is correct. It is that of the reward's first part; the other
    parts shape training and are reported."""

    @model_validator(mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def answer_length(self) -> int:
        """Longest answer in tokens: `max_tokens`, or the suite's own length."""
        return self.max_tokens if self.max_tokens is not None else MAX_TOKENS[self.name]
