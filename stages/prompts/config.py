"""Config of the implicit first stage: gather prompts, split off the held-out ones."""

from typing import Literal

from models.config import ModelConfig
from prompts.config import PromptSource
from stages.reference import StageConfig


class PromptsStage(StageConfig):
    kind: Literal["prompts"] = "prompts"
    id: str = "prompts"
    sources: tuple[PromptSource, ...]
    """Where prompts come from."""
    tokenizer: ModelConfig | None = None
    """The model whose tokens `max_prompt_tokens` of a source counts; what it is upcycled to does
    not matter. None where no source sets it: then the prompts do not depend on the model."""

    def input_ids(self) -> dict[str, str]:
        return {}
