"""Declaration of an evaluation by tasks of lm-evaluation-harness. No recipe has it: `uphill eval`
makes it."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from common.artifacts import CHECKPOINT, HARNESS_RESULTS, RESULTS, Artifact
from common.execution import ENGINE
from rollouts.config import RolloutConfig
from stages.declaration import FROM, Need, StageConfig


class HarnessStage(StageConfig):
    """Evaluates a checkpoint by tasks of an installed lm-eval."""

    produces: ClassVar[tuple[Artifact, ...]] = (RESULTS, HARNESS_RESULTS)
    imports_torch: ClassVar[bool] = True
    reads_execution: ClassVar[tuple[str, ...]] = ENGINE
    execution_group: ClassVar[str] = "evaluate"

    kind: Literal["lm_eval"] = "lm_eval"
    of: str
    """Id of the stage whose checkpoint is evaluated."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """The tasks, by lm-eval's names."""
    lm_eval: str
    """Version of lm-eval."""
    tasks_path: str | None = None
    """A folder with tasks of your own."""
    tasks_content: str = ""
    """Checksum of what is in that folder."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first documents of each task."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples before each question; not set: the task's own number."""
    apply_chat_template: bool = False
    """Ask in the checkpoint's chat template."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine."""

    def needs(self) -> Mapping[str, Need]:
        return {FROM: Need((CHECKPOINT,), path=("of",))}
