"""Config of a stage that takes over what a stage of another run made."""

from typing import Literal

from common.config import Text
from stages.reference import PROMPTS, StageConfig

ORIGIN = "adopted.json"
"""The record of the stage that made the files, as it is in the other run."""


class AdoptStage(StageConfig):
    kind: Literal["adopt"]
    folder: Text
    """The finished stage's folder in its run, e.g. `../runs/other/03-filter`."""

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS}
