"""Config of the judge filter."""

from typing import Literal

from pydantic import Field

from judges.config import AttemptsJudge
from stages.reference import PROMPTS, StageConfig


class JudgeFilterStage(StageConfig):
    kind: Literal["judge_filter"]
    judge: AttemptsJudge
    """Who says how hard a prompt is."""
    drop_easiest: float = Field(ge=0, lt=1)
    """Share of the prompts to drop, easiest first, in every capability alike."""

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS}
