"""The questions of the early check, as plain data; light.

A stage's declaration yields them (`StageConfig.questions`), and `stages/preflight/` answers
them."""

from typing import Annotated, Literal

from pydantic import Field

from common.config import Config
from corner_cases.names import CaseName
from evals.config import SuiteConfig
from judges.config import JudgeConfig
from prompts.pair_config import PairFile


class _Question(Config):
    place: str
    """The section of the recipe that it is about, e.g. `stages[1]`."""


class FilterQuestion(_Question):
    """Can the judges that run locally read the training prompts, or a sample of them?"""

    asks: Literal["filter"] = "filter"
    id: str
    """Id of the judge filter. A stage that names it in `on` reads the kept prompts."""
    judges: tuple[JudgeConfig, ...]
    limit: int | None = None
    seed: int
    """Seed of the sample."""


class AdoptQuestion(_Question):
    """Later questions refer to the prompts of an adopted stage."""

    asks: Literal["adopted"] = "adopted"
    id: str
    folder: str


class LearnQuestion(_Question):
    """Can the policy be trained on prompts with their targets?"""

    asks: Literal["learn"] = "learn"
    on: str
    """Id of the stage that provides the prompts."""
    limit: int | None = None
    seed: int
    """Seed of the sample."""


class PairQuestion(_Question):
    """Can the policy be trained on a person's preference pairs?"""

    asks: Literal["pairs"] = "pairs"
    pairs: PairFile


class CornerCaseQuestion(_Question):
    """Can the policy answer the training prompts of corner cases, and be trained on the answers?"""

    asks: Literal["corner_cases"] = "corner_cases"
    engine: str
    """The section of the recipe whose `rollouts` is the engine."""
    cases: tuple[CaseName, ...]
    max_tokens: int
    """Longest answer, in tokens."""
    max_model_len: int
    """Longest prompt plus answer, in tokens."""


class RollQuestion(_Question):
    """Can the policy answer prompts within the rollout engine's context? One of `systems` precedes
    each prompt that has no system message of its own."""

    asks: Literal["roll"] = "roll"
    id: str = ""
    """Id of the stage; its prompts are those of `on`. Empty if no other stage reads its prompts."""
    on: str
    systems: tuple[str, ...] = ()
    """System messages."""
    max_tokens: int
    """Longest completion, in tokens."""
    max_model_len: int
    """Longest prompt plus completion, in tokens."""
    ends_the_run: bool
    """Whether a prompt that does not fit ends the run; otherwise it is reported as a remark."""
    learnt: bool = False
    """Whether a later stage trains on the completions in chat-template form."""


class SuiteQuestion(_Question):
    """Can the policy answer an evaluation suite within the rollout engine's context?"""

    asks: Literal["suite"] = "suite"
    suite: SuiteConfig
    dev_limit: int | None = None
    """Prompts of its dev part that are asked, if not all of both parts."""
    max_model_len: int
    engine: str = "evaluate"
    """The section of the recipe whose `rollouts` is the engine."""
    steers: bool = False
    """Whether its dev part decides something, and so must have a prompt."""


Question = Annotated[
    FilterQuestion
    | AdoptQuestion
    | LearnQuestion
    | PairQuestion
    | CornerCaseQuestion
    | RollQuestion
    | SuiteQuestion,
    Field(discriminator="asks"),
]
