"""Config of the implicit stage that builds the starting checkpoint."""

from typing import Literal

from models.config import ModelConfig
from stages.reference import StageConfig


class BaseStage(StageConfig):
    kind: Literal["base"] = "base"
    id: str = "base"
    model: ModelConfig
    """Which model the run starts from."""

    def input_ids(self) -> dict[str, str]:
        return {}
