"""Declaration of the implicit first stage, which gathers prompts and splits off held-out ones."""

import math
from typing import Annotated, ClassVar, Literal

from common.artifacts import (
    BAD_ROWS,
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
    """Gathers the prompts of all sources without repeats, split into training and held-out ones."""

    # 2: no prompt overlaps the suite `corner_cases`. 3: nor one of the suites that are files.
    # 4: these are more.
    version: ClassVar[int] = 4
    produces: ClassVar[tuple[Artifact, ...]] = (
        *(PROMPTS, HELD_OUT, BAD_ROWS, TOO_LONG, REPEATED, CONTAMINATED),
    )

    kind: Literal["prompts"] = "prompts"
    id: str = PROMPTS_STAGE
    sources: tuple[PromptSource, ...]
    """Sources of prompts."""
    tokenizer: Annotated[ModelConfig | None, TokenizerOnly()] = None
    """The model whose tokenizer counts `max_prompt_tokens`; settings of upcycling do not matter.
    None if no source limits lengths: then the prompts do not depend on the model."""

    def prompts_at_most(self, sizes: Sizes) -> int | None:
        counts = [count(source) for source in self.sources]
        return None if None in counts else sum(filter(None, counts))

    def held_out(self) -> int | None:
        """Upper bound on the prompts held out for evaluation; None if unknown."""
        parts = [(count(source), source.held_out) for source in self.sources]
        if any(n is None for n, _ in parts):
            return None
        return sum(math.ceil((n or 0) * share) for n, share in parts)

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        return {"prompts_at_most": self.prompts_at_most(sizes)}
