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
from rollouts.config import DRIFT_TOLERANCE, PARITY_TOLERANCE, RolloutConfig
from stages.declaration import Disk, EngineUse, Need, Objection, Sizes
from stages.dev_part import IN_A_SERVER, engine_objections
from stages.questions import Question, RollQuestion
from stages.rl.evaluation import RlEvaluation
from stages.training import TrainingStage, with_best_weights


class RlStage(TrainingStage):
    """Online reinforcement learning on a curriculum, with rollouts from vLLM."""

    # 3: `posterior` no longer retires easy prompts.
    version: ClassVar[int] = 3
    produces: ClassVar[tuple[Artifact, ...]] = (
        *TrainingStage.produces,
        *(GROUPS, PROMPTS, LEDGER, PARITY, RELIABILITY, CURRICULUM_PLOT),
    )
    reads_execution: ClassVar[tuple[str, ...]] = (*TrainingStage.reads_execution, *ENGINE)
    grades: ClassVar[bool] = True

    kind: Literal["rl"]
    on: str = Field(examples=["filter"])
    """Id of the stage that provides the prompts: a judge filter, whose verdicts are the priors of
    the curriculum; an RL stage, whose ledger the curriculum continues; or `prompts` for all
    training prompts without any prior."""
    steps: int = Field(ge=1, examples=[20])
    """Optimiser steps. Each one is on-policy: generate, grade, train, publish the weights."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: constant at its peak, or falling to 0 at the end of the
    stage, linearly or as half a cosine wave."""
    prompts_per_step: int = Field(default=16, ge=1)
    """Number of groups to train on in each step. `curriculum` decides which groups count."""
    group_size: int = Field(default=8, ge=2)
    """Rollouts per prompt."""
    max_tokens: int = Field(default=32, ge=1)
    """Longest completion, in tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the rollouts."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling: rollouts are sampled only from the likeliest tokens that together have this
    probability, and the loss uses the probabilities within these tokens; 1 samples from all
    tokens."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of KL(policy || reference) in the loss, estimated at the trained tokens. The reference
    is the policy that the stage starts from. 0 omits the term."""
    pass_at: float = Field(default=1.0, gt=0, le=1)
    """Reward from which a rollout passes. Training uses the reward itself; pass rates, which decide
    how hard a prompt is, count what passes."""
    cut_off: Literal["mask", "zero"] = "mask"
    """Completions cut off at `max_tokens`: `mask` leaves them out of the loss, `zero` trains on
    them with reward 0."""
    ahead: int = Field(default=0, ge=0, le=1)
    """Steps that rollouts are ahead of training: 0 samples from the policy that trains; 1 samples
    the next step's rollouts while the present step trains, from a policy that is one version old.
    1 needs rollout servers (`devices: {engine: {kind: server}}`)."""
    importance: Literal["truncate", "clip"] = "truncate"
    """With `ahead: 1` or rollouts in bfloat16, the correction for rollouts of the older or rounded
    policy, by the ratio of each token's probabilities under the two: `truncate` weighs the token's
    loss by the ratio, at most 2; `clip` is PPO's objective, whose gradient vanishes for ratios
    beyond 0.8 to 1.2."""
    parity_tolerance: float = Field(default=PARITY_TOLERANCE, gt=0)
    """Largest accepted mean absolute difference of log-probabilities between engine and trainer
    after publishing the weights, in nats per token. The stage stops beyond it. With rollouts in
    bfloat16, `drift_tolerance` takes its place."""
    drift_tolerance: float = Field(default=DRIFT_TOLERANCE, gt=0)
    """With rollouts in bfloat16, where the weights are proven one by one: largest accepted mean
    absolute difference of log-probabilities between engine and trainer, in nats per token. After
    the first publication 8 times that one's difference is the limit, if it is lower."""
    curriculum: CurriculumConfig = Posterior()
    """How the prompts of a step are chosen."""
    system_prompts: tuple[Text, ...] = Field(default=(), examples=[["Be brief.", "Think first."]])
    """System messages for prompts without one of their own; one is drawn for each prompt and step.
    Empty: none."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine."""
    evaluate: RlEvaluation | None = None
    """The stage's own evaluation on a suite's dev part while it trains; not set: none."""

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
                f"curriculum.pilot ({pilot}) is not less than group_size ({self.group_size})"
            )
        return self

    @model_validator(mode="after")
    def _evaluations_can_decide(self) -> "RlStage":
        if self.evaluate is None:
            return self
        self.evaluate.require_room(self.rollouts, "evaluate")
        if self.evaluate.keep_best and self.evaluate.times(self.steps) < 2:
            raise ValueError(
                f"evaluate.keep_best has nothing to choose from: with every"
                f" ({self.evaluate.every}) and steps ({self.steps}) only the last step is"
                " evaluated; lower evaluate.every"
            )
        return self

    @model_validator(mode="after")
    def _rollouts_ahead_need_whole_distributions(self) -> "RlStage":
        if self.ahead and self.top_p < 1:
            raise ValueError(
                f"ahead ({self.ahead}) with top_p ({self.top_p}): the older policy may sample"
                " tokens that the newer one never would, whose ratio is 0; give top_p: 1, or"
                " ahead: 0"
            )
        if not self.ahead and self.rollouts.exact and self._set("importance"):
            raise ValueError(
                f"importance ({self.importance}) has no effect with ahead: 0, as the policy that"
                " samples is the one that trains"
            )
        return self

    @model_validator(mode="after")
    def _each_dtype_has_its_tolerance(self) -> "RlStage":
        dtype = self.rollouts.dtype
        idle = "drift_tolerance" if self.rollouts.exact else "parity_tolerance"
        if self._set(idle):
            other = "parity_tolerance" if self.rollouts.exact else "drift_tolerance"
            raise ValueError(
                f"{idle} ({getattr(self, idle):g}) has no effect with rollouts in {dtype}; give"
                f" {other}"
            )
        if not self.rollouts.exact and self.top_p < 1:
            raise ValueError(
                f"rollouts in {dtype} with top_p ({self.top_p}): rounding decides which tokens can"
                " be drawn, and the trainer's ratio of others is 0; give top_p: 1, or rollouts:"
                " {dtype: float32}"
            )
        return self

    def _set(self, field: str) -> bool:
        """Whether a field has another value than its default."""
        return bool(getattr(self, field) != type(self).model_fields[field].default)

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
        asked = self.evaluate.needs() if self.evaluate is not None else {}
        return {**super().needs(), "prompts": Need((PROMPTS,), path=("on",)), **asked}

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        return sizes.prompts.get(self.on)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        rollouts = self.curriculum.rollouts_at_most(
            self.steps, self.prompts_per_step, self.group_size, sizes.prompts.get(self.on)
        )
        tokens = None if rollouts is None else rollouts * self.max_tokens
        evaluated = self._evaluated_at_most(sizes)
        tokens = None if tokens is None or evaluated is None else tokens + evaluated
        return {"steps": self.steps, "tokens_generated_at_most": tokens}

    def _evaluated_at_most(self, sizes: Sizes) -> int | None:
        """Tokens of the stage's own evaluations; None where the size of the suite is unknown."""
        if self.evaluate is None:
            return 0
        prompts = self.evaluate.prompts_at_most(sizes)
        answers = None if prompts is None else prompts * self.evaluate.times(self.steps)
        return None if answers is None else answers * self.evaluate.as_suite().answer_length()

    def disk(self, policy: Dimensions) -> Disk | None:
        disk = super().disk(policy)
        if disk is None or self.evaluate is None or not self.evaluate.keep_best:
            return disk
        return with_best_weights(disk, policy)

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        if trainer is None or policy is None:
            return None
        tokens = execution.max_num_seqs * self.rollouts.max_model_len
        total = trainer + engine_memory(policy, self.rollouts.dtype, tokens)
        # The policy without its adapters is the reference; without adapters it takes a second copy.
        has_copy = self.kl_weight > 0 and self.train != "lora"
        return total + reference_memory(policy) if has_copy else total

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        yield from super().execution_objections(execution)
        yield from engine_objections(self.rollouts, execution)
        if self.ahead and execution.devices.engine.kind == "in_process":
            message = "ahead: 1 samples while the trainer computes, which one process cannot"
            yield Objection(("devices.engine",), message, IN_A_SERVER)

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
        if self.evaluate is not None:
            yield self.evaluate.question(f"{place}.evaluate", place, self.rollouts)
