"""Declaration of direct preference optimisation."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import CHECKPOINT, GROUPS, PAIRS, PROMPTS, Artifact
from common.execution import ExecutionConfig
from models.memory import Memory, reference_memory
from models.sizes import Dimensions
from stages.declaration import Need, Objection, Sizes
from stages.training import TrainingStage


class DpoStage(TrainingStage):
    """Direct preference optimisation on pairs of answers from an RL stage's groups."""

    produces: ClassVar[tuple[Artifact, ...]] = (*TrainingStage.produces, PAIRS)

    kind: Literal["dpo"]
    pairs: str = Field(examples=["rl"])
    """Id of the RL stage from whose groups the pairs are built."""
    reference: str | None = Field(default=None, examples=["sft"])
    """Id of the stage whose checkpoint is the reference policy; not set: the one in `from`."""
    max_pairs: int = Field(default=256, ge=1)
    """Largest number of pairs to train on; pairs of the newest policy versions are preferred."""
    max_length_ratio: float = Field(default=2.0, ge=1)
    """Largest ratio between the lengths in tokens of a pair's chosen and rejected answer."""
    min_margin: float = Field(default=0.5, gt=0, le=1)
    """Smallest difference between the rewards of a pair's chosen and rejected answer."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs per optimiser step."""
    beta: float = Field(default=0.1, gt=0)
    """DPO's beta: larger values keep the policy closer to the reference policy."""
    sft_weight: float = Field(default=0.5, ge=0)
    """Weight of an SFT loss on the chosen answers, which keeps their likelihood from falling."""

    def steps_at_most(self) -> int:
        return math.ceil(self.max_pairs / self.batch_size)

    def needs(self) -> Mapping[str, Need]:
        reference = ("from",) if self.reference is None else ("reference",)
        return {
            **super().needs(),
            "pairs": Need((GROUPS, PROMPTS), path=("pairs",)),
            "reference": Need((CHECKPOINT,), path=reference),
        }

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        return {"pairs_at_most": self.max_pairs}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        trainer = super().memory(policy, execution)
        return trainer + reference_memory(policy) if trainer and policy else None

    def execution_objections(self, execution: ExecutionConfig) -> Iterator[Objection]:
        yield from super().execution_objections(execution)
        if execution.rows_per_forward < 2:
            message = (
                f"rows_per_forward is {execution.rows_per_forward}, but a pair has two sequences"
            )
            yield Objection(("rows_per_forward",), message, "use 2 or more")
