"""The parts of a reward that a judge gives; light, loads neither a model nor an HTTP client."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from common.config import Config, InvalidValue, Text
from common.judge_settings import JudgeSettings
from prompts.part import RewardPart


class RubricItem(Config):
    """One item of a rubric: something that a good answer does."""

    item: Text = Field(examples=["states the unit"])
    """What a good answer does, so that yes is good."""
    weight: float = Field(default=1.0, gt=0)
    """Weight of the item in the reward."""


class JudgePart(JudgeSettings, RewardPart):
    """Fields of the verifiers that ask a judge."""

    of_model: ClassVar[tuple[str, ...]] = ("dtype", "max_model_len", "memory_share")

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the judge's weights and arithmetic (with `model`)."""
    max_model_len: int = Field(default=2048, ge=16)
    """Largest number of tokens of a question, with the task and the answers in it (with
    `model`)."""
    memory_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of a GPU's memory that the judge's server takes (with `model`). Not read on a CPU."""
    retries: int = Field(default=1, ge=0)
    """Retries of an unreadable reply, each with a higher length limit."""
    show_reference: bool = False
    """Show the judge the prompt's reference answer."""


class RubricPart(JudgePart):
    """A judge says of each item of a rubric whether the answer does it."""

    verifier: Literal["rubric"]
    items: tuple[RubricItem, ...] = Field(
        default=(), examples=[[{"item": "states the unit", "weight": 2}]]
    )
    """The rubric of prompts that have none of their own in `metadata.rubric`."""

    @field_validator("items")
    @classmethod
    def _items_differ(cls, value: tuple[RubricItem, ...]) -> tuple[RubricItem, ...]:
        require_different(value)
        return value


class ComparePart(JudgePart):
    """A judge says which of two answers to a prompt is better."""

    verifier: Literal["compare"]
    criterion: Text = Field(
        default="It solves the task correctly, and says so clearly.",
        examples=["It answers in fewer words."],
    )
    """What is more true of the better answer."""


def require_different(items: tuple[RubricItem, ...]) -> None:
    """Raise InvalidValue if two items of a rubric have the same text."""
    texts = [one.item for one in items]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise InvalidValue(f"two items are {twice!r:.80}", "give one of them the whole weight")
