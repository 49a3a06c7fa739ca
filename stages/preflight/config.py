"""What the early check asks of model, template and prompts before a stage that costs anything:
plain data, light.

`pipeline/preflight.py` reads it out of a recipe.
"""

from typing import Annotated, Literal

from pydantic import Field

from common.config import Config
from evals.config import SuiteConfig
from judges.config import JudgeConfig
from models.config import ModelConfig
from stages.reference import PROMPTS, StageConfig


class _Ask(Config):
    place: str
    """Where in the recipe it comes from, e.g. `stages[1]`."""


class FilterAsk(_Ask):
    """Judges that run here read the training prompts, or a sample of them."""

    kind: Literal["filter"] = "filter"
    id: str
    """The filter's; who names it in `on` reads what it lets through."""
    judges: tuple[JudgeConfig, ...]
    limit: int | None = None
    seed: int
    """Of the sample."""


class AdoptAsk(_Ask):
    """The prompts of another run's stage take the place of this run's."""

    kind: Literal["adopt"] = "adopt"
    id: str
    folder: str


class LearnAsk(_Ask):
    """The policy learns prompts with their targets."""

    kind: Literal["learn"] = "learn"
    on: str
    """Id of the stage whose prompts they are."""
    limit: int | None = None
    seed: int
    """Of the sample."""


class RollAsk(_Ask):
    """The policy answers prompts, each behind one of `systems` where it has no system message of
    its own."""

    kind: Literal["roll"] = "roll"
    id: str = ""
    """Of the stage, whose prompts are those of `on`; empty if no stage reads them."""
    on: str
    systems: tuple[str, ...] = ()
    max_tokens: int
    max_model_len: int
    ends_the_run: bool
    """Whether a prompt without room ends the run; otherwise it is counted as a fault and told."""
    learnt: bool = False
    """Whether a stage learns the answers as the template writes them."""


class SuiteAsk(_Ask):
    """The policy answers an evaluation's suite."""

    kind: Literal["suite"] = "suite"
    suite: SuiteConfig
    max_model_len: int


Ask = Annotated[FilterAsk | AdoptAsk | LearnAsk | RollAsk | SuiteAsk, Field(discriminator="kind")]


class PreflightStage(StageConfig):
    kind: Literal["preflight"] = "preflight"
    id: str = "preflight"
    model: ModelConfig
    """The starting model, whose tokenizer and template all stages use."""
    asks: tuple[Ask, ...]
    """In the recipe's order."""
    systems: dict[str, str] = Field(default_factory=dict)
    """System messages of the sources of prompts, by their place in the recipe."""

    def input_ids(self) -> dict[str, str]:
        return {"prompts": PROMPTS}
