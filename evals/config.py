"""Settings of evaluation suites; light, loads no data."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from common.config import Config, Text
from corner_cases.names import CaseName

CORNER_CASES = "corner_cases"
SuiteName = Literal["held_out", "gsm8k", "basic_arithmetic", "corner_cases"]
MAX_TOKENS = {"held_out": 64, "gsm8k": 256, "basic_arithmetic": 32, CORNER_CASES: 128}
"""Suite to its longest answer in tokens, if the recipe sets none."""


def score_of(suite: str) -> str:
    """The suite in messages about its score; of `corner_cases` also what that is, as its tables
    show rates."""
    return f"{suite} (share of clean replies)" if suite == CORNER_CASES else suite


def _in_order(cases: tuple[CaseName, ...]) -> tuple[CaseName, ...]:
    """The cases in the order of the registry, in which they are asked and told."""
    if twice := [name for name, count in Counter(cases).items() if count > 1]:
        raise ValueError(f"the case {twice[0]} is named twice; name it once")
    return tuple(sorted(cases, key=get_args(CaseName).index))


Cases = Annotated[tuple[CaseName, ...], Field(min_length=1), AfterValidator(_in_order)]
"""Some of the corner cases."""


def require_fitting(name: SuiteName, cases: Sequence[CaseName] | None, pass_at: float) -> None:
    """ValueError for settings that the suite of this name does not have."""
    if cases is not None and name != CORNER_CASES:
        raise ValueError(f"{name} has no cases; give `cases` to the suite {CORNER_CASES} alone")
    if pass_at != 1.0 and name == CORNER_CASES:
        raise ValueError(
            f"{CORNER_CASES} has no rewards: a reply shows the case or is clean; leave `pass_at`"
            " out"
        )


class SuiteConfig(Config):
    """An evaluation suite. A plain name in the recipe means the suite with its defaults."""

    name: SuiteName
    """`held_out` (the held-out prompts of the recipe), a packaged public test set, or
    `corner_cases` (packaged prompts that provoke named faults)."""
    cases: Cases | None = Field(default=None, examples=[["repetition", "refusal"]])
    """Of `corner_cases` the cases that are asked; not set: all."""
    limit: int | None = Field(default=None, ge=2, examples=[100])
    """Use only this many prompts, half of them in the dev part and half in the final part, the same
    ones for every checkpoint; not set: all. Of `corner_cases` every case gets as many questions, as
    long as it has some; a question in several languages is asked in all of them or not at all."""
    dev: bool = True
    """Ask the dev part too. A suite without it costs half as much and steers nothing: neither the
    gate nor which weights `runtime.keep` keeps. A `limit` is then one of the final part."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; not set: the suite's own length (`held_out` 64, `gsm8k` 256,
    `basic_arithmetic` 32, `corner_cases` 128)."""
    system: Text | None = None
    """System message for prompts that have none."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward from which an answer is correct. It is that of the reward's first part; the other
    parts shape training and are reported."""

    @model_validator(mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fitting(self) -> "SuiteConfig":
        require_fitting(self.name, self.cases, self.pass_at)
        return self

    def answer_length(self) -> int:
        """Longest answer in tokens: `max_tokens`, or the suite's own length."""
        return self.max_tokens if self.max_tokens is not None else MAX_TOKENS[self.name]
