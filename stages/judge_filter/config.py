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
    """Measures the quality of the verdicts: a policy tries a random sample of the judged
    prompts."""

    policy: str = BASE
    """Id of the stage whose checkpoint tries the prompts: the policy for which the judge predicts
    the difficulty."""
    prompts: int = Field(default=64, ge=8)
    """Prompts in the sample, which includes dropped and kept ones."""
    attempts: int = Field(default=16, ge=16)
    """Completions per prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature; use that of the RL stage, whose pass rates the judge predicts."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest completion, in tokens."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine of the audited policy."""

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
    """Llama judges rate the difficulty of prompts, and the easiest prompts are dropped."""

    produces: ClassVar[tuple[Artifact, ...]] = (
        *(PROMPTS, LEDGER, DROPPED, REASONS, VERDICTS, AUDIT),
    )
    reads_execution: ClassVar[tuple[str, ...]] = ENGINE
    imports_torch: ClassVar[bool] = True
    grades: ClassVar[bool] = True

    kind: Literal["judge_filter"]
    judges: tuple[JudgeConfig, ...] = Field(min_length=1)
    """The judges. With several, a prompt's ease is the mean of its ranks among their verdicts."""
    limit: int | None = Field(default=None, ge=1, examples=[100])
    """Judge a sample of at most this many prompts that keeps the share of every capability, and
    leave out the others; not set: all."""
    drop_easiest: float = Field(ge=0, lt=1, examples=[0.5])
    """Share of the judged prompts to drop, the easiest first."""
    stratified: bool = True
    """Drop that share within every capability; false: drop the easiest of all prompts,
    whatever their capability."""
    keep_at_least: int = Field(default=1, ge=1)
    """Smallest number of prompts that every capability keeps."""
    broken_agreement: float = Field(default=1.0, gt=0.5, le=1)
    """Threshold for a reference answer that is likely wrong: a prompt is set aside if no attempt is
    right and at least this share of its graded attempts, four or more, give the same other
    answer."""
    stop_early: bool = False
    """Give a prompt no more attempts once it is on the same side of the cut whatever they would
    give. The cut is that of all attempts; the kept prompts' priors rest on fewer. For a single
    judge of kind `attempts`."""
    audit: AuditConfig | None = None
    """Checks the verdicts against a policy's pass rates; not set: no check."""

    @model_validator(mode="after")
    def _a_decided_prompt_can_be_told(self) -> "JudgeFilterStage":
        if self.stop_early and not (len(self.judges) == 1 and self.judges[0].kind == "attempts"):
            kinds = ", ".join(judge.kind for judge in self.judges)
            raise ValueError(
                f"stop_early needs a single judge of kind attempts, got {kinds}: what further"
                " replies can change is only known of attempts"
            )
        if self.stop_early and self.drop_easiest == 0:
            raise ValueError("stop_early needs a cut, and drop_easiest 0 drops nothing")
        return self

    def needs(self) -> Mapping[str, Need]:
        judged = {"prompts": Need((PROMPTS,), stage=PROMPTS_STAGE)}
        policy = {"policy": Need((CHECKPOINT,), path=("audit", "policy"))}
        return judged | (policy if self.audit else {})

    def judged(self, sizes: Sizes) -> int | None:
        """Upper bound on the judged prompts; None if unknown."""
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
        """The largest engine: the judges and the audit's policy are in memory one after another."""
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
