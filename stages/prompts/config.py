"""Declaration of the implicit first stage: gather prompts, split off the held-out ones."""

import math
from typing import Annotated, ClassVar, Literal

from common.artifacts import (
    CONTAMINATED,
    HELD_OUT,
    PROMPTS,
    REPEATED,
    TOO_LONG,
    Artifact,
)
from common.user_files import TokenizerOnly
from models.config import ModelConfig
from prompts.config import PromptSource
from prompts.count import count
from stages.declaration import PROMPTS_STAGE, Sizes, StageConfig


class PromptsStage(StageConfig):
    """The prompts of all sources, without repeats, split in training and held-out ones."""

    produces: ClassVar[tuple[Artifact, ...]] = (
        *(PROMPTS, HELD_OUT, TOO_LONG, REPEATED, CONTAMINATED),
    )

    kind: Literal["prompts"] = "prompts"
    id: str = PROMPTS_STAGE
    sources: tuple[PromptSource, ...]
    """Where prompts come from."""
    tokenizer: Annotated[ModelConfig | None, TokenizerOnly()] = None
    """The model whose tokens `max_prompt_tokens` of a source counts; what it is upcycled to does
    not matter. None where no source sets it: then the prompts do not depend on the model."""

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        counts = [count(source) for source in self.sources]
        return None if None in counts else sum(filter(None, counts))

    def held_out(self) -> int | None:
        """Most prompts that are kept for evaluation; None where nobody knows."""
        parts = [(count(source), source.held_out) for source in self.sources]
        if any(n is None for n, _ in parts):
            return None
        return sum(math.ceil((n or 0) * share) for n, share in parts)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        return {"prompts_at_most": self.prompts_at_most(sizes)}
