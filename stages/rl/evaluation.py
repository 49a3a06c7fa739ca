"""Settings of RL's own evaluation; light."""

from pydantic import Field, model_validator

from common.config import Config, Text
from evals.config import Cases, SuiteConfig, SuiteName, require_fitting


class RlEvaluation(Config):
    """RL's own evaluation: every few steps the policy answers the dev part of a suite greedily,
    with the stage's own engine."""

    every: int = Field(ge=1, examples=[10])
    """Optimiser steps between two evaluations; the last step is always evaluated."""
    suite: SuiteName = "held_out"
    """The suite whose dev part is asked. Its final part is not."""
    cases: Cases | None = Field(default=None, examples=[["repetition", "refusal"]])
    """Of `corner_cases` the cases that are asked; not set: all."""
    limit: int | None = Field(default=None, ge=1, examples=[64])
    """Ask only this many prompts of the dev part, the same ones every time; not set: all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens; not set: the suite's own length (`held_out` 64, `gsm8k` 256,
    `basic_arithmetic` 32, `corner_cases` 128)."""
    system: Text | None = None
    """System message for prompts that have none."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward of the first part from which an answer is correct."""
    keep_best: bool = False
    """Whether the stage's checkpoint is that of the evaluated step with the best dev score, of
    equal ones the later; otherwise it is that of the last step."""

    @model_validator(mode="after")
    def _fitting(self) -> "RlEvaluation":
        require_fitting(self.suite, self.cases, self.pass_at)
        return self

    def as_suite(self) -> SuiteConfig:
        """The suite as evaluations ask it."""
        return SuiteConfig(
            name=self.suite,
            cases=self.cases,
            max_tokens=self.max_tokens,
            system=self.system,
            pass_at=self.pass_at,
        )

    def due(self, step: int, steps: int) -> bool:
        """Whether the policy is evaluated after optimiser step `step` of `steps`."""
        return step == steps or step % self.every == 0

    def times(self, steps: int) -> int:
        """Number of evaluations in a stage of `steps` optimiser steps."""
        return -(-steps // self.every)
