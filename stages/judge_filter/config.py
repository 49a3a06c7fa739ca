"""Config of the judge filter."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Config
from judges.config import JudgeConfig
from rollouts.config import RolloutConfig
from stages.reference import BASE, PROMPTS, StageConfig


class AuditConfig(Config):
    """How good the verdicts are: the policy itself tries a random part of the judged prompts."""

    policy: str = BASE
    """Id of the stage whose checkpoint tries them: the policy whose difficulty the judge is to
    foretell."""
    prompts: int = Field(default=64, ge=8)
    """Prompts in the sample, dropped and kept alike."""
    attempts: int = Field(default=16, ge=16)
    """Completions a prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature: that of the RL stage, whose pass rates are meant."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest completion, in tokens."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine."""

    @model_validator(mode="after")
    def _completions_fit_the_engine(self) -> "AuditConfig":
        if self.max_tokens >= self.rollouts.max_model_len:
            limit = self.rollouts.max_model_len
            raise ValueError(
                f"max_tokens ({self.max_tokens}) leaves no room for a prompt in max_model_len"
                f" ({limit})"
            )
        return self


class JudgeFilterStage(StageConfig):
    kind: Literal["judge_filter"]
    judge: JudgeConfig
    """Who says how hard a prompt is."""
    more_judges: tuple[JudgeConfig, ...] = ()
    """Further judges: a prompt's ease is then the mean of its places in their rankings."""
    limit: int | None = Field(default=None, ge=1)
    """Judge at most this many prompts, a sample with every capability's share; the others are left
    out."""
    drop_easiest: float = Field(ge=0, lt=1)
    """Share of the judged prompts to drop, easiest first."""
    stratified: bool = True
    """Drop that share of every capability; otherwise the easiest of all, whatever their
    capability."""
    keep_at_least: int = Field(default=1, ge=1)
    """Prompts that every capability keeps."""
    broken_agreement: float = Field(default=1.0, gt=0.5, le=1)
    """A prompt that no attempt got right, and on whose other answer this share of at least four
    graded attempts agree, is set aside: its reference is likely wrong."""
    audit: AuditConfig | None = None
    """Without it, nobody checks the judge."""

    @property
    def judges(self) -> tuple[JudgeConfig, ...]:
        return (self.judge, *self.more_judges)

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS} | ({"policy": self.audit.policy} if self.audit else {})
