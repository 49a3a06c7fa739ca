"""Config of the implicit first stage: gather prompts, split off the held-out ones."""

from typing import Literal

from prompts.config import PromptSource
from stages.reference import StageConfig


class PromptsStage(StageConfig):
    kind: Literal["prompts"] = "prompts"
    id: str = "prompts"
    sources: tuple[PromptSource, ...]
    """Where prompts come from."""

    def input_ids(self) -> dict[str, str]:
        return {}
