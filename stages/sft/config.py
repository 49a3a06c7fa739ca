"""Declaration of supervised fine-tuning."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import PROMPTS
from common.execution import TRAINER
from stages.declaration import BASE, Need, Sizes
from stages.questions import LearnQuestion, Question
from stages.training import TrainingStage


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
    """Number of passes over the prompts."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences per optimiser step."""
    warmup_steps: int = Field(default=2, ge=0)
    """Optimiser steps in which the learning rate rises linearly from 0 to its peak. The first of
    them has a learning rate of 0 and changes nothing. The default is not 0 because the first
    gradients of new weights are the least reliable."""

    def steps_at_most(self) -> int | None:
        return self.limit and math.ceil(math.ceil(self.limit / self.batch_size) * self.epochs)

    def needs(self) -> Mapping[str, Need]:
        return {**super().needs(), "prompts": Need((PROMPTS,), path=("on",))}

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        known = [n for n in (sizes.prompts.get(self.on), self.limit) if n is not None]
        return {"sequences_at_most": math.ceil(min(known) * self.epochs) if known else None}

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        yield LearnQuestion(place=place, on=self.on, limit=self.limit, seed=seed)
