"""Declaration of a stage that scales every weight of a checkpoint."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import CHECKPOINT, Artifact
from models.memory import weight_bytes
from models.sizes import Dimensions
from stages.declaration import Disk, Need, Sizes, StageConfig


class ScaleStage(StageConfig):
    """Every weight times a factor."""

    produces: ClassVar[tuple[Artifact, ...]] = (CHECKPOINT,)
    reads_execution: ClassVar[tuple[str, ...]] = ("rows_per_forward",)

    kind: Literal["scale"]
    teacher: str = Field(examples=["base"])
    """Id of the stage whose checkpoint is scaled."""
    factor: float = Field(default=1.0, gt=0)
    """By what."""

    def needs(self) -> Mapping[str, Need]:
        return {"teacher": Need((CHECKPOINT,), path=("teacher",))}

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        return {"checkpoints_at_most": 1}

    def disk(self, policy: Dimensions) -> Disk | None:
        return Disk(kept=weight_bytes(policy))
