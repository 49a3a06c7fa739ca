"""Config of supervised fine-tuning."""

import math
from typing import Literal

from pydantic import Field

from training.config import TrainingStage


class SftStage(TrainingStage):
    kind: Literal["sft"]
    from_: str = Field(default="base", alias="from")
    """Id of the stage whose checkpoint training starts from."""
    on: str
    """Id of the stage whose prompts are learnt: a judge filter (its kept prompts) or `prompts`
    (all)."""
    limit: int | None = Field(default=None, ge=1)
    """Learn from at most this many of them, a sample with every capability's share."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the prompts."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences an optimiser step."""
    warmup_steps: int = Field(default=2, ge=0)
    """Optimiser steps in which the learning rate rises from 0 to its peak, evenly; the first of
    them moves nothing. The first gradients of fresh weights are the least trustworthy."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward and backward pass; weights and optimiser stay float32."""

    def steps_at_most(self) -> int | None:
        return self.limit and math.ceil(math.ceil(self.limit / self.batch_size) * self.epochs)

    def input_ids(self) -> dict[str, str]:
        return {"checkpoint": self.from_, "prompts": self.on}
