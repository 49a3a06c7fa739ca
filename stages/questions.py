"""What the early check can ask for a stage: plain data, light. `stages/preflight/` answers.

A stage's declaration yields them (`StageConfig.questions`)."""

from typing import Annotated, Literal

from pydantic import Field

from common.config import Config
from evals.config import SuiteConfig
from judges.config import JudgeConfig


class _Question(Config):
    place: str
    """Where in the recipe it comes from, e.g. `stages[1]`."""


class FilterQuestion(_Question):
    """Judges that run here read the training prompts, or a sample of them."""

    asks: Literal["filter"] = "filter"
    id: str
    """The filter's id; a stage that names it in `on` reads what it lets through."""
    judges: tuple[JudgeConfig, ...]
    limit: int | None = None
    seed: int
    """Of the sample."""


class AdoptQuestion(_Question):
    """The prompts of another run's stage take the place of this run's."""

    asks: Literal["adopted"] = "adopted"
    id: str
    folder: str


class LearnQuestion(_Question):
    """The policy learns prompts with their targets."""

    asks: Literal["learn"] = "learn"
    on: str
    """Id of the stage whose prompts they are."""
    limit: int | None = None
    seed: int
    """Of the sample."""


class RollQuestion(_Question):
    """The policy answers prompts, each behind one of `systems` where it has no system message of
    its own."""

    asks: Literal["roll"] = "roll"
    id: str = ""
    """Of the stage, whose prompts are those of `on`; empty if no stage reads them."""
    on: str
    systems: tuple[str, ...] = ()
    max_tokens: int
    max_model_len: int
    ends_the_run: bool
    """Whether a prompt without room ends the run; otherwise it is counted as a fault and noted."""
    learnt: bool = False
    """Whether a later stage learns the answers as the template writes them."""


class SuiteQuestion(_Question):
    """The policy answers an evaluation's suite."""

    asks: Literal["suite"] = "suite"
    suite: SuiteConfig
    max_model_len: int


Question = Annotated[
    FilterQuestion | AdoptQuestion | LearnQuestion | RollQuestion | SuiteQuestion,
    Field(discriminator="asks"),
]
