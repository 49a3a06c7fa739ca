"""Where prompts come from, as a recipe says it; light, loads neither data nor generators."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from common.config import Config, InvalidValue, Text
from common.user_files import UserFile

PromptFile = Annotated[Text, UserFile("prompts")]
"""A file or folder of rows of the user's."""


class _Source(Config):
    """What every source has."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts kept out of training, for evaluation."""
    system: Text | None = Field(default=None, examples=["Answer with one number."])
    """System message put before prompts that have none."""
    max_prompt_tokens: int | None = Field(default=None, ge=1, examples=[256])
    """Longest prompt, in tokens of the recipe's model with its chat template; longer ones are
    dropped and listed."""


class ReasoningGymSource(_Source):
    """Tasks of one reasoning-gym family, generated from a seed."""

    source: Literal["reasoning_gym"]
    family: Text = Field(examples=["chain_sum"])
    """Name of the family, e.g. `chain_sum`."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"max_terms": 3}])
    """The family's own difficulty settings, e.g. `{max_terms: 3}`."""
    seed: int = Field(default=0, ge=0)
    """Seed of the generator: the same seed gives the same tasks."""
    count: int = Field(ge=1, examples=[200])
    """Tasks to generate, before duplicates are removed."""
    capability: Text | None = Field(default=None, examples=["arithmetic"])
    """Group for quotas and scores; without it the family's name."""
    question: Text | None = Field(default=None, examples=["reverse {word}"])
    """Other wording of the task over the item's metadata, e.g. `reverse {word}`; `{question}` is
    the family's own."""
    graded_by: tuple[Text, ...] = Field(default=(), examples=[["num_terms"]])
    """Fields of the item's metadata that say how hard it is, e.g. `[num_terms]`: prompts of equal
    fields share what the curriculum learns about them. Without any, all prompts of the source's
    settings do."""

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
        """The capability its prompts belong to."""
        return self.capability or self.family


class _RowSource(_Source):
    """What the sources that read a person's own rows have."""

    path: PromptFile = Field(examples=["my_prompts.jsonl"])
    """Where the rows are. A row has `messages` or `prompt`, and `answer`; optionally id, verifier,
    capability, solution, metadata."""
    capability: Text | None = Field(default=None, examples=["arithmetic"])
    """Group of the rows that name none."""
    verifier: Text | None = Field(default=None, examples=["number"])
    """Verifier of the rows that name none."""


class JsonlSource(_RowSource):
    """A file with one JSON object a line."""

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
    """Names in a wording template. Raises ValueError on anything but literal text and plain
    `{name}` fields."""
    names = []
    for _, name, spec, conversion in Formatter().parse(template):
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            message = (
                f"only plain {{name}} fields are allowed in a question, got {{{name}}} with extras"
            )
            raise InvalidValue(message, "write for example `question: reverse {word}`")
        names.append(name)
    if not names:
        message = f"a question needs at least one {{name}} field, got {template!r}"
        raise InvalidValue(message, "write for example `question: reverse {word}`")
    return names
