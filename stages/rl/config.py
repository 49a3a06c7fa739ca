"""Config of online reinforcement learning."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Text
from curriculum.config import CurriculumConfig, Posterior
from rollouts.config import RolloutConfig
from training.config import TrainingStage


class RlStage(TrainingStage):
    kind: Literal["rl"]
    on: str
    """Id of the judge filter whose kept prompts and priors the curriculum starts from; `prompts`
    for all training prompts, of which nothing is known yet; or of an RL stage, with whose ledger it
    goes on."""
    steps: int = Field(ge=1)
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
    system_prompts: tuple[Text, ...] = ()
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

    def input_ids(self) -> dict[str, str]:
        return {"checkpoint": self.from_, "filter": self.on}
