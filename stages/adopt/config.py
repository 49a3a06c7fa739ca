"""Config of a stage that takes over what a stage of another run made."""

from typing import Literal

from stages.reference import PROMPTS, StageConfig


class AdoptStage(StageConfig):
    kind: Literal["adopt"]
    folder: str
    """The finished stage's folder in its run, e.g. `../runs/other/03-filter`."""

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS}
