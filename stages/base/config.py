"""Declaration of the implicit stage that builds the starting checkpoint."""

from typing import ClassVar, Literal

from common.artifacts import CHECKPOINT, Artifact
from models.config import ModelConfig
from models.memory import weight_bytes
from models.sizes import Dimensions
from stages.declaration import BASE, Disk, StageConfig


class BaseStage(StageConfig):
    """The recipe's `model` as a checkpoint in float32."""

    imports_torch: ClassVar[bool] = True
    produces: ClassVar[tuple[Artifact, ...]] = (CHECKPOINT,)

    kind: Literal["base"] = "base"
    id: str = BASE
    model: ModelConfig
    """The starting model."""

    def disk(self, policy: Dimensions) -> Disk | None:
        return Disk(kept=weight_bytes(policy))
