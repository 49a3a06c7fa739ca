"""Config of the implicit first stage: gather prompts, split off the held-out ones."""

from typing import Literal

from prompts.config import PromptSource
from stages.reference import StageConfig


class PromptsStage(StageConfig):
    kind: Literal["prompts"] = "prompts"
    id: str = "prompts"
    sources: tuple[PromptSource, ...]
    """Where prompts come from."""
    tokenizer: str | None = None
    """Whose tokens `max_prompt_tokens` of a source counts: a preset, a packaged model or a checkpoint folder. None
    where no source sets it: then the prompts do not depend on the model."""

    def input_ids(self) -> dict[str, str]:
        return {}
