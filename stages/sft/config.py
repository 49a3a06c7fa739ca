"""Declaration of supervised fine-tuning."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import PROBES, PROMPTS, Artifact
from common.execution import ENGINE, TRAINER, ExecutionConfig
from models.memory import Memory, engine_memory
from models.sizes import Dimensions
from stages.declaration import BASE, Disk, EngineUse, Need, Objection, Sizes
from stages.dev_part import engine_objections
from stages.questions import LearnQuestion, Question
from stages.sft.stop_when import StopWhen
from stages.training import TrainingStage, with_best_weights


class SftStage(TrainingStage):
    """Supervised fine-tuning on prompts and their reference answers, and on demonstrations."""

    reads_execution: ClassVar[tuple[str, ...]] = (*TRAINER, "packing")

    kind: Literal["sft"]
    from_: str = Field(default=BASE, alias="from", examples=["base"])
    """Id of the stage whose checkpoint training starts from."""
    on: str = Field(examples=["filter"])
    """Id of the stage that provides the prompts: a judge filter (the kept prompts), an RL stage, or
    `prompts` (all training prompts)."""
    limit: int | None = Field(default=None, ge=1, examples=[100])
    """Train on a sample of at most this many prompts that keeps the share of every capability; not
    set: all."""
    epochs: float = Field(default=1.0, gt=0)
    """Number of passes over the prompts; with `stop_when` the most there are."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences per optimiser step."""
    warmup_steps: int = Field(default=2, ge=0)
    """Optimiser steps in which the learning rate rises linearly from 0 to its peak. The first of
    them has a learning rate of 0 and changes nothing. The default is not 0 because the first
    gradients of new weights are the least reliable."""

    stop_when: StopWhen | None = None
    """Ends SFT by what probes of the policy measure, and chooses the weights that are kept; not
    set: SFT ends after `epochs` and keeps its last weights."""

    def steps_at_most(self) -> int | None:
        return self._steps_of(self.limit)

    def _steps_of(self, prompts: int | None) -> int | None:
        """The optimiser steps of all epochs over so many prompts; None where that is unknown."""
        return prompts and math.ceil(math.ceil(prompts / self.batch_size) * self.epochs)

    def outputs(self) -> tuple[Artifact, ...]:
        return (*self.produces, PROBES) if self.stop_when is not None else self.produces

    def execution_settings(self) -> tuple[str, ...]:
        engine = ENGINE if self.stop_when is not None else ()
        return (*self.reads_execution, *engine)

    def grades_answers(self) -> bool:
        return self.stop_when is not None

    def needs(self) -> Mapping[str, Need]:
        asked = self.stop_when.needs() if self.stop_when is not None else {}
        return {**super().needs(), "prompts": Need((PROMPTS,), path=("on",)), **asked}

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        known = [n for n in (sizes.prompts.get(self.on), self.limit) if n is not None]
        prompts = min(known, default=None)
        sequences = None if prompts is None else math.ceil(prompts * self.epochs)
        bounds = {"sequences_at_most": sequences}
        if self.stop_when is None:
            return bounds
        return {**bounds, "tokens_generated_at_most": self._probed_at_most(prompts, sizes)}

    def _probed_at_most(self, prompts: int | None, sizes: Sizes) -> int | None:
        """Tokens of the probes of an SFT on so many prompts; None where their number is unknown."""
        assert self.stop_when is not None
        steps, asked = self._steps_of(prompts), self.stop_when.prompts_at_most(sizes)
        if steps is None or asked is None:
            return None
        answers = self.stop_when.times(steps) * asked * self.stop_when.samples
        return answers * self.stop_when.as_suite().answer_length()

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        if trainer is None or policy is None or self.stop_when is None:
            return trainer
        rollouts = self.stop_when.rollouts
        tokens = execution.max_num_seqs * rollouts.max_model_len
        return trainer + engine_memory(policy, rollouts.dtype, tokens)

    def disk(self, policy: Dimensions) -> Disk | None:
        disk = super().disk(policy)
        return with_best_weights(disk, policy) if disk and self.stop_when is not None else disk

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        yield from super().execution_objections(execution)
        if self.stop_when is not None:
            yield from engine_objections(self.stop_when.rollouts, execution)

    def engines(self) -> Iterator[EngineUse]:
        if self.stop_when is not None:
            yield EngineUse(("stop_when", "rollouts"), self.stop_when.rollouts)

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        yield LearnQuestion(place=place, on=self.on, limit=self.limit, seed=seed)
        if self.stop_when is not None:
            here = f"{place}.stop_when"
            yield self.stop_when.question(here, here, self.stop_when.rollouts)
