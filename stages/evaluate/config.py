"""Config of an evaluation between stages."""

from typing import Literal

from evals.config import SuiteConfig
from rollouts.config import RolloutConfig
from stages.reference import PROMPTS, StageConfig


class EvaluateStage(StageConfig):
    kind: Literal["evaluate"] = "evaluate"
    of: str
    """Id of the stage whose checkpoint is evaluated."""
    suites: tuple[SuiteConfig, ...]
    """What is asked."""
    rollouts: RolloutConfig = RolloutConfig()
    """The engine."""

    def input_ids(self) -> dict[str, str]:
        return {"checkpoint": self.of, "prompts": PROMPTS}
