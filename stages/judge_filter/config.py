"""Declaration of the judge filter."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from common.artifacts import (
    AUDIT,
    CHECKPOINT,
    DROPPED,
    LEDGER,
    PROMPTS,
    REASONS,
    VERDICTS,
    Artifact,
)
from common.config import Config
from common.execution import ENGINE, ExecutionConfig
from judges.config import JudgeConfig
from models.memory import Memory, engine_memory
from models.sizes import Dimensions, dense_dimensions
from rollouts.config import RolloutConfig
from stages.declaration import BASE, PROMPTS_STAGE, EngineUse, Need, Sizes, StageConfig
from stages.questions import FilterQuestion, Question, RollQuestion


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
    """A Llama judge rates how hard prompts are, and the easiest are dropped."""

    produces: ClassVar[tuple[Artifact, ...]] = (
        *(PROMPTS, LEDGER, DROPPED, REASONS, VERDICTS, AUDIT),
    )
    reads_execution: ClassVar[tuple[str, ...]] = ENGINE

    kind: Literal["judge_filter"]
    judges: tuple[JudgeConfig, ...] = Field(min_length=1)
    """Who says how hard a prompt is. With several, a prompt's ease is the mean of its ranks."""
    limit: int | None = Field(default=None, ge=1, examples=[100])
    """Judge at most this many prompts, a sample with every capability's share; the others are left
    out."""
    drop_easiest: float = Field(ge=0, lt=1, examples=[0.5])
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

    def needs(self) -> Mapping[str, Need]:
        judged = {"prompts": Need((PROMPTS,), stage=PROMPTS_STAGE)}
        policy = {"policy": Need((CHECKPOINT,), path=("audit", "policy"))}
        return judged | (policy if self.audit else {})

    def judged(self, sizes: Sizes) -> int | None:
        """Prompts that a judge is asked about; None where nobody knows."""
        known = [n for n in (sizes.prompts.get(PROMPTS_STAGE), self.limit) if n is not None]
        return min(known, default=None)

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        judged = self.judged(sizes)
        return None if judged is None else math.ceil(judged * (1 - self.drop_easiest))

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        judged = self.judged(sizes)
        per_prompt = sum(judge.tokens for judge in self.judges)
        tokens = None if judged is None else judged * per_prompt
        return {"prompts_at_most": judged, "tokens_generated_at_most": tokens}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        """One judge is in memory at a time, and the audit's policy after them: the largest."""
        engines = []
        for use in self.engines():
            model = dense_dimensions(use.judge) if use.judge else policy
            tokens = execution.max_num_seqs * use.rollouts.max_model_len
            engines += [engine_memory(model, use.rollouts.dtype, tokens)] if model else []
        return max(engines, key=Memory.total, default=None)

    def engines(self) -> Iterator[EngineUse]:
        for number, judge in enumerate(self.judges):
            if judge.model is not None:
                yield EngineUse(("judges", number, "rollouts"), judge.rollouts, judge.model)
        if self.audit:
            yield EngineUse(("audit", "rollouts"), self.audit.rollouts)

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        yield FilterQuestion(
            place=place, id=self.id, judges=self.judges, limit=self.limit, seed=seed
        )
        if self.audit is not None:
            yield RollQuestion(
                place=f"{place}.audit",
                on=self.id,
                max_tokens=self.audit.max_tokens,
                max_model_len=self.audit.rollouts.max_model_len,
                ends_the_run=False,
            )
