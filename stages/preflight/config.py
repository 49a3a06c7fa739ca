"""Config of the early check, which runs before any expensive stage; plain data."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import HELD_OUT, PREFLIGHT, PROMPTS, Artifact
from models.config import ModelConfig
from stages.declaration import PROMPTS_STAGE, Need, StageConfig
from stages.questions import Question


class PreflightStage(StageConfig):
    """The early check. `pipeline/planning/early_check.py` builds it from the stages' questions."""

    imports_torch: ClassVar[bool] = True
    produces: ClassVar[tuple[Artifact, ...]] = (PREFLIGHT,)

    kind: Literal["preflight"] = "preflight"
    id: str = "preflight"
    model: ModelConfig
    """The starting model, whose tokenizer and chat template all stages use."""
    questions_asked: tuple[Question, ...]
    """The questions, in the recipe's order."""
    systems: dict[str, str] = Field(default_factory=dict)
    """System messages of the prompt sources by their place in the recipe."""

    def needs(self) -> Mapping[str, Need]:
        return {"prompts": Need((PROMPTS, HELD_OUT), stage=PROMPTS_STAGE)}
