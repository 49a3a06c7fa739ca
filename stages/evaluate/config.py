"""Declaration of an evaluation between stages."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from common.artifacts import ANSWERS, CHECKPOINT, HELD_OUT, RESULTS, Artifact
from common.execution import ENGINE, ExecutionConfig
from evals.config import SuiteConfig
from evals.suite_file import HELD_OUT_SUITE
from models.memory import Memory, engine_memory
from models.sizes import Dimensions
from rollouts.config import RolloutConfig
from stages.declaration import FROM, PROMPTS_STAGE, EngineUse, Need, Sizes, StageConfig
from stages.questions import Question, SuiteQuestion

PREFIX = "eval-"
"""The evaluation of stage `rl` is the stage `eval-rl`. No other id may start with this prefix."""


class EvaluateStage(StageConfig):
    """Evaluates a checkpoint on suites. The recipe's `evaluate` makes one per stage in `after`."""

    # 2: suites have a dev part and a final part, and a limit draws from both. 3: `corner_cases` has
    # more prompts.
    version: ClassVar[int] = 3
    produces: ClassVar[tuple[Artifact, ...]] = (RESULTS, ANSWERS)
    imports_torch: ClassVar[bool] = True
    reads_execution: ClassVar[tuple[str, ...]] = ENGINE
    grades: ClassVar[bool] = True
    execution_group: ClassVar[str] = "evaluate"

    kind: Literal["evaluate"] = "evaluate"
    of: str
    """Id of the stage whose checkpoint is evaluated."""
    suites: tuple[SuiteConfig, ...]
    """The suites."""
    rollouts: RolloutConfig = RolloutConfig()
    """The rollout engine."""

    def needs(self) -> Mapping[str, Need]:
        return {
            FROM: Need((CHECKPOINT,), path=("of",)),
            "prompts": Need((HELD_OUT,), stage=PROMPTS_STAGE),
        }

    def bounds(self, sizes: Sizes) -> dict[str, int | None]:
        """Answers and tokens, if the size of every suite is known from its limit or from the
        sources of the held-out prompts."""
        answers = tokens = 0
        for suite in self.suites:
            size = suite.limit
            if size is None and suite.name == HELD_OUT_SUITE:
                size = sizes.held_out
            if size is None:
                return {}
            size *= suite.sampling[0]
            answers, tokens = answers + size, tokens + size * suite.answer_length()
        return {"answers_at_most": answers, "tokens_generated_at_most": tokens}

    def memory(self, policy: Dimensions | None, execution: ExecutionConfig) -> Memory | None:
        tokens = execution.max_num_seqs * self.rollouts.max_model_len
        return engine_memory(policy, self.rollouts.dtype, tokens) if policy else None

    def engines(self) -> Iterator[EngineUse]:
        yield EngineUse(("rollouts",), self.rollouts)

    def questions(self, place: str, seed: int) -> Iterator[Question]:
        length = self.rollouts.max_model_len
        for index, suite in enumerate(self.suites):
            yield SuiteQuestion(place=f"{place}.suites[{index}]", suite=suite, max_model_len=length)
