"""Config of the judge filter."""

from typing import Literal

from pydantic import Field

from judges.config import AttemptsJudge
from stages.reference import PROMPTS, StageConfig


class JudgeFilterStage(StageConfig):
    kind: Literal["judge_filter"]
    judge: AttemptsJudge
    """Who says how hard a prompt is."""
    limit: int | None = Field(default=None, ge=1)
    """Judge at most this many prompts, a sample with every capability's share; the others are left out."""
    drop_easiest: float = Field(ge=0, lt=1)
    """Share of the judged prompts to drop, easiest first, in every capability alike."""

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS}
