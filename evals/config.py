"""What an evaluation asks; light, loads no data."""

from typing import Any, Literal

from pydantic import Field, model_validator

from common.config import Config, Text

SuiteName = Literal["held_out", "gsm8k", "basic_arithmetic"]
MAX_TOKENS = {"held_out": 64, "gsm8k": 256, "basic_arithmetic": 32}
"""Longest answer by suite, in tokens, where a recipe names none."""


class SuiteConfig(Config):
    """One suite. A plain name in the recipe stands for the suite with its defaults."""

    name: SuiteName
    """`held_out` (the recipe's own held-out prompts) or a packaged public test set."""
    limit: int | None = Field(default=None, ge=1)
    """Ask only this many prompts, the same ones for every checkpoint; none asks all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; none takes the suite's own length."""
    system: Text | None = None
    """System message put before prompts that have none."""

    @model_validator(mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def answer_length(self) -> int:
        """Longest answer in tokens, the suite's own where none is set."""
        return self.max_tokens if self.max_tokens is not None else MAX_TOKENS[self.name]
