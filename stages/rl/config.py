"""Declaration of online reinforcement learning."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from common.artifacts import (
    CURRICULUM_PLOT,
    GROUPS,
    LEDGER,
    PARITY,
    PROMPTS,
    RELIABILITY,
    Artifact,
)
from common.config import Text
from common.execution import ENGINE, ExecutionConfig
from curriculum.config import CurriculumConfig, Posterior
from models.memory import Memory, engine_memory, reference_memory
from models.sizes import Dimensions
from rollouts.config import RolloutConfig
from stages.declaration import EngineUse, Need, Sizes
from stages.questions import Question, RollQuestion
from stages.training import TrainingStage


class RlStage(TrainingStage):
    """Online reinforcement learning on a curriculum, rollouts from vLLM."""

    produces: ClassVar[tuple[Artifact, ...]] = (
        *TrainingStage.produces,
        *(GROUPS, PROMPTS, LEDGER, PARITY, RELIABILITY, CURRICULUM_PLOT),
    )
    reads_execution: ClassVar[tuple[str, ...]] = (*TrainingStage.reads_execution, *ENGINE)

    kind: Literal["rl"]
    on: str = Field(examples=["filter"])
    """Id of the judge filter whose kept prompts and priors the curriculum starts from; `prompts`
    for all training prompts, of which nothing is known yet; or of an RL stage, with whose ledger it
    goes on."""
    steps: int = Field(ge=1, examples=[20])
    """Optimiser steps; each is on-policy: generate, score, train, sync."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: it stays at its peak, or falls to 0 at the stage's end,
    straight or as half a cosine wave."""
    prompts_per_step: int = Field(default=16, ge=1)
    """Groups with a spread of rewards that a step asks for."""
    group_size: int = Field(default=8, ge=2)
    """Rollouts a prompt."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest completion, in tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the rollouts."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Rollouts are drawn from the likeliest tokens alone that together have this probability, and
    trained as drawn from them; 1 draws from all."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of KL(policy || reference) in the loss, estimated at the tokens trained on; the
    reference is the policy that the stage starts from. 0 leaves the term out."""
    cut_off: Literal["mask", "zero"] = "mask"
    """A completion cut off at `max_tokens`: kept out of the loss, or trained on with reward 0."""
    parity_tolerance: float = Field(default=1e-4, gt=0)
    """Largest mean absolute log-probability gap between engine and trainer after a sync."""
    curriculum: CurriculumConfig = Posterior()
    """Which prompts are practised on."""
    system_prompts: tuple[Text, ...] = Field(default=(), examples=[["Be brief.", "Think first."]])
    """One of them, drawn anew each step, goes before a prompt that has no system message of its
    own."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine."""

    @model_validator(mode="after")
    def _completions_fit_the_engine(self) -> "RlStage":
        if self.max_tokens >= self.rollouts.max_model_len:
            raise ValueError(
                f"max_tokens ({self.max_tokens}) leaves no room for a prompt in"
                f" rollouts.max_model_len ({self.rollouts.max_model_len})"
            )
        pilot = getattr(self.curriculum, "pilot", 0)
        if pilot >= self.group_size:
            raise ValueError(
                f"curriculum.pilot ({pilot}) is no part of a group of group_size {self.group_size}"
            )
        return self

    @model_validator(mode="after")
    def _a_kl_term_needs_the_whole_distribution(self) -> "RlStage":
        if self.kl_weight and self.top_p < 1:
            raise ValueError(
                f"kl_weight ({self.kl_weight}) with top_p ({self.top_p}): the KL term is estimated"
                " from rollouts of the whole distribution; give top_p: 1, or kl_weight: 0"
            )
        return self

    def steps_at_most(self) -> int:
        return self.steps

    def needs(self) -> Mapping[str, Need]:
        return {**super().needs(), "prompts": Need((PROMPTS,), path=("on",))}

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        return sizes.prompts.get(self.on)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        rollouts = self.curriculum.rollouts_at_most(
            self.steps, self.prompts_per_step, self.group_size, sizes.prompts.get(self.on)
        )
        tokens = None if rollouts is None else rollouts * self.max_tokens
        return {"steps": self.steps, "tokens_generated_at_most": tokens}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        if trainer is None or policy is None:
            return None
        tokens = execution.max_num_seqs * self.rollouts.max_model_len
        held = trainer + engine_memory(policy, self.rollouts.dtype, tokens)
        # Adapters can be left out for the reference policy; other weights are held once more.
        second = self.kl_weight > 0 and self.train != "lora"
        return held + reference_memory(policy) if second else held

    def engines(self) -> Iterator[EngineUse]:
        yield EngineUse(("rollouts",), self.rollouts)

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        yield RollQuestion(
            place=place,
            id=self.id,
            on=self.on,
            systems=self.system_prompts,
            max_tokens=self.max_tokens,
            max_model_len=self.rollouts.max_model_len,
            ends_the_run=True,
        )
