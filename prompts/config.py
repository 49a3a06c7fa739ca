"""Settings of prompt sources; light, loads neither data nor generators."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from common.config import Config, InvalidValue, Text
from common.user_files import UserFile
from prompts.parts import Part, RewardPart

PromptFile = Annotated[Text, UserFile("prompts")]
"""A file or folder with the user's rows."""


class _Source(Config):
    """Fields of every prompt source."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts that is held out for evaluation."""
    system: Text | None = Field(default=None, examples=["Answer with one number."])
    """System message for prompts that have none."""
    max_prompt_tokens: int | None = Field(default=None, ge=1, examples=[256])
    """Longest prompt, in tokens of the recipe's model with its chat template. Longer prompts are
    dropped and listed in `too_long.jsonl`; not set: no limit."""
    rewards: tuple[Part, ...] = Field(
        default=(), examples=[[{"verifier": "math"}, {"verifier": "exact", "weight": 0.1}]]
    )
    """The parts of the reward, a verifier with its settings each. The first one grades the
    reference answer. Empty: the verifier alone that the source or the row names."""

    @field_validator("rewards")
    @classmethod
    def _labels_differ(cls, value: tuple[RewardPart, ...]) -> tuple[RewardPart, ...]:
        labels = [part.label for part in value]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise InvalidValue(
                f"two parts are named {twice!r}", "give them names: `{verifier: ..., name: ...}`"
            )
        return value

    def stored_rewards(self) -> tuple[dict[str, Any], ...]:
        """The parts as the prompts hold them."""
        return tuple(part.stored() for part in self.rewards)


class ReasoningGymSource(_Source):
    """Tasks of one reasoning-gym family, generated from a seed."""

    source: Literal["reasoning_gym"]
    family: Text = Field(examples=["chain_sum"])
    """Name of the family, e.g. `chain_sum`."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"max_terms": 3}])
    """Settings of the family's generator, e.g. `{max_terms: 3}`."""
    seed: int = Field(default=0, ge=0)
    """Seed of the generator. The same seed gives the same tasks."""
    count: int = Field(ge=1, examples=[200])
    """Number of tasks to generate, before duplicates are removed."""
    capability: Text | None = Field(default=None, examples=["arithmetic"])
    """Capability of the prompts, by which shares and scores are grouped; not set: the family's
    name."""
    question: Text | None = Field(default=None, examples=["reverse {word}"])
    """Template that replaces the family's wording. Its fields are the item's metadata, e.g.
    `reverse {word}`; `{question}` is the family's own wording."""
    graded_by: tuple[Text, ...] = Field(default=(), examples=[["num_terms"]])
    """Fields of the item's metadata that determine its difficulty, e.g. `[num_terms]`. Prompts with
    equal values form a difficulty group, whose results the curriculum pools. Empty: all prompts
    with the source's settings form one group."""

    @field_validator("settings")
    @classmethod
    def _settings_leave_seed_and_size(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted({"seed", "size"} & value.keys())
        if taken:
            raise InvalidValue(
                f"{taken[0]} does not belong in settings", "use the source's `seed` and `count`"
            )
        return value

    @field_validator("question")
    @classmethod
    def _template_is_plain(cls, value: str | None) -> str | None:
        if value is not None:
            template_fields(value)
        return value

    def group(self) -> str:
        """The capability of its prompts."""
        return self.capability or self.family


class _RowSource(_Source):
    """Fields of the sources that read the user's own rows."""

    path: PromptFile = Field(examples=["my_prompts.jsonl"])
    """File or folder with the rows. A row has `messages` or `prompt`, and `answer`; optionally id,
    verifier, capability, solution, metadata."""
    capability: Text | None = Field(default=None, examples=["arithmetic"])
    """Capability of the rows that name none."""
    verifier: Text | None = Field(default=None, examples=["number"])
    """Verifier of the rows that name none."""

    @model_validator(mode="after")
    def _one_way_to_grade(self) -> "_RowSource":
        if self.verifier is not None and self.rewards:
            raise ValueError("name the verifier in `verifier` or in `rewards`, not in both")
        return self


class JsonlSource(_RowSource):
    """A file with one JSON object per line."""

    source: Literal["jsonl"]


class ParquetSource(_RowSource):
    """A parquet file."""

    source: Literal["parquet"]


class DatasetsSource(_RowSource):
    """A folder written by `Dataset.save_to_disk` of the `datasets` library."""

    source: Literal["datasets"]


RowSource = JsonlSource | ParquetSource | DatasetsSource
PromptSource = Annotated[
    ReasoningGymSource | JsonlSource | ParquetSource | DatasetsSource, Field(discriminator="source")
]


def template_fields(template: str) -> list[str]:
    """The field names of a template. ValueError for anything but literal text and plain `{name}`
    fields."""
    names = []
    for _, name, spec, conversion in Formatter().parse(template):
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            message = (
                f"only plain {{name}} fields are allowed in a question, got more in {{{name}}}"
            )
            raise InvalidValue(message, "write for example `question: reverse {word}`")
        names.append(name)
    if not names:
        message = f"a question needs at least one {{name}} field, got {template!r}"
        raise InvalidValue(message, "write for example `question: reverse {word}`")
    return names
