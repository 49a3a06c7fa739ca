"""Config of direct preference optimisation."""

import math
from typing import Literal

from pydantic import Field, model_validator

from training.config import TrainingStage


class DpoStage(TrainingStage):
    kind: Literal["dpo"]
    pairs: str
    """Id of the RL stage whose groups the pairs are mined from."""
    reference: str | None = None
    """Id of the stage whose checkpoint is the reference policy; by default the one in `from`."""
    max_pairs: int = Field(default=256, ge=1)
    """Most pairs to train on; the newest policy versions come first."""
    max_length_ratio: float = Field(default=2.0, ge=1)
    """Chosen and rejected answers may differ in length (tokens) by at most this factor."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs an optimiser step."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the reference policy holds the policy back."""
    sft_weight: float = Field(default=0.5, ge=0)
    """Weight of the likelihood of the chosen answer, against its displacement."""

    def steps_at_most(self) -> int:
        return math.ceil(self.max_pairs / self.batch_size)

    @model_validator(mode="after")
    def _a_pair_fits_a_pass(self) -> "DpoStage":
        if self.rows_per_forward < 2:
            raise ValueError(
                f"rows_per_forward is {self.rows_per_forward}, and a pair is two sequences: give 2"
                " or more"
            )
        return self

    def input_ids(self) -> dict[str, str]:
        return {
            "checkpoint": self.from_,
            "pairs": self.pairs,
            "reference": self.reference or self.from_,
        }
