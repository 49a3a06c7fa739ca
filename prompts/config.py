"""Settings of prompt sources; light, loads neither data nor generators."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from common.config import Config, InvalidValue, Text
from prompts.files import FileRows, HubRows, Rows, SuiteFileRows
from prompts.mapping import RowField, RowFields, RowSection
from prompts.parts import Rewards


class _Graded(Config):
    """Fields of everything that prompts come from."""

    system: Text | None = Field(default=None, examples=["Answer with one number."])
    """System message for prompts that have none."""
    rewards: Rewards = Field(
        default=(), examples=[[{"verifier": "math"}, {"verifier": "exact", "weight": 0.1}]]
    )
    """The parts of the reward, a verifier with its settings each. The first one grades the
    reference answer. Empty: the verifier alone that the source or the row names."""

    def stored_rewards(self) -> tuple[dict[str, Any], ...]:
        """The parts as the prompts hold them."""
        return tuple(part.stored() for part in self.rewards)


class _Source(_Graded):
    """Fields of every prompt source."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts that is held out for evaluation."""
    max_prompt_tokens: int | None = Field(default=None, ge=1, examples=[256])
    """Longest prompt, in tokens of the recipe's model with its chat template. Longer prompts are
    dropped and listed in `too_long.jsonl`; not set: no limit."""


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


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Listed = Annotated[tuple[RowField, ...], BeforeValidator(_listed)]
"""One path or several, whose values make one list."""


class PromptFields(RowFields):
    """Where the parts of a prompt are in the rows: paths such as `choices.text`, or templates such
    as `"{passage} {question}"`. Only what is named is read."""

    prompt: RowField | None = Field(default=None, examples=["question"])
    """The question."""
    messages: RowField | None = Field(default=None, examples=["conversations"])
    """A conversation, instead of `prompt`."""
    answer: RowField | None = Field(default=None, examples=["answer"])
    """The reference answer; not named: the assistant's last turn in `messages`, or none, for
    verifiers that need none."""
    choices: Listed = Field(default=(), examples=[["choices.text"]])
    """The options of a multiple-choice question: a path to a list of texts, or a list of paths.
    They are added to the question with letters, and the answer becomes its option's letter."""
    labels: Listed = Field(default=(), examples=[["choices.label"]])
    """The labels that the rows' answers use for the options, in their order. Without them an answer
    is a letter, the text of an option, or its index from 0."""
    solution: RowField | None = Field(default=None, examples=["reasoning"])
    """The worked solution."""
    system: RowField | None = Field(default=None, examples=["system_prompt"])
    """The system message; the source's `system` is for rows where it is null or blank."""
    id: RowField | None = Field(default=None, examples=["task_id"])
    """The id, unique in its source."""
    verifier: RowField | None = Field(default=None, examples=["verifier"])
    """The verifier, where rows differ."""
    capability: RowField | None = Field(default=None, examples=["subject"])
    """The capability, where rows differ."""
    metadata: RowSection = Field(default_factory=dict, examples=[{"tests": "test"}])
    """What the verifier needs besides the answer, by the names that it reads; sections of names
    make objects, as in `{tests: {test_list: test_list}}`."""

    @model_validator(mode="after")
    def _enough(self) -> "PromptFields":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("fields need exactly one of prompt and messages")
        if self.choices and self.prompt is None:
            raise ValueError("choices are added to a prompt, not to messages")
        if self.labels and not self.choices:
            raise ValueError("labels are those of the choices, which are not named")
        return self


class PromptRows(_Graded, Rows):
    """How rows become prompts."""

    fields: PromptFields | None = Field(
        default=None, examples=[{"prompt": "question", "answer": "answer"}]
    )
    """Where the parts of a prompt are in the rows. Not set: rows have `messages`, `conversations`
    or `prompt`, and `answer`; optionally id, verifier, capability, solution, metadata."""
    answer_after: Text | None = Field(default=None, examples=["####"])
    """Text before the answer in the answer's field; the answer is what follows its last
    occurrence."""
    answer_boxed: bool = False
    """Whether the answer is the content of the last `\\boxed{...}` in the answer's field."""
    list_choices: bool = True
    """Whether the options of `choices` are added to the question. Without it the question stands
    alone, and the answer is the option's text and not its letter."""
    shuffle_choices: bool = False
    """Whether the options are put into another order, which follows from the question. For rows
    whose right answer always has the same place."""
    capability: Text | None = Field(default=None, examples=["arithmetic"])
    """Capability of the rows that name none."""
    verifier: Text | None = Field(default=None, examples=["number"])
    """Verifier of the rows that name none."""

    @model_validator(mode="after")
    def _one_way_to_grade(self) -> "PromptRows":
        if self.verifier is not None and self.rewards:
            raise ValueError("name the verifier in `verifier` or in `rewards`, not in both")
        if self.answer_after is not None and self.answer_boxed:
            raise ValueError("set `answer_after` or `answer_boxed`, not both")
        return self


class _RowSource(_Source, PromptRows):
    """Fields of the sources that read the user's own rows."""


class FileSource(_RowSource, FileRows):
    """Files of any format: its names and contents tell which."""

    source: Literal["file"]


class JsonlSource(_RowSource, FileRows):
    """Files with one JSON object per line, whatever they are called."""

    source: Literal["jsonl"]


class ParquetSource(_RowSource, FileRows):
    """Parquet files, whatever they are called."""

    source: Literal["parquet"]


class DatasetsSource(_RowSource, FileRows):
    """A folder written by `save_to_disk` of the `datasets` library."""

    source: Literal["datasets"]


class HubSource(_RowSource, HubRows):
    """A data set on the Hugging Face hub."""


class SuiteRows(PromptRows, SuiteFileRows):
    """Rows of an evaluation suite."""

    group: Text | None = Field(default=None, examples=["problem"])
    """Name in the rows' `metadata` whose value prompts that belong together share, such as a
    question in several languages. They are in the same part, and a limit takes all of them or
    none."""


RowSource = FileSource | JsonlSource | ParquetSource | DatasetsSource | HubSource | SuiteRows
PromptSource = Annotated[
    ReasoningGymSource | FileSource | JsonlSource | ParquetSource | DatasetsSource | HubSource,
    Field(discriminator="source"),
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
