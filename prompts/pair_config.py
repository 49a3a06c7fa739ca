"""Settings of sources of preference pairs; light."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from common.config import InvalidValue, Text
from prompts.files import FileRows, PromptFile, Rows
from prompts.mapping import RowField, RowFields


class PairFields(RowFields):
    """Where the parts of a pair are in the rows: paths, or templates over paths. Only what is named
    is read."""

    chosen: RowField = Field(examples=["chosen"])
    """The preferred answer, or the conversation that ends with it."""
    rejected: RowField = Field(examples=["rejected"])
    """The other answer, or the conversation that ends with it."""
    prompt: RowField | None = Field(default=None, examples=["instruction"])
    """The question or conversation that both answer; not named: what the two conversations begin
    with."""
    system: RowField | None = Field(default=None, examples=["system"])
    """The system message; null or blank where a row has none."""


class PairFile(FileRows):
    """Pairs in files of one's own."""

    fields: PairFields | None = None


OF_FILES = ("source", "split", "fields", "on_bad_row")
"""Settings that pairs of a stage do not have."""


class PairSource(Rows):
    """Where preference pairs come from: `stage`, an RL stage, or `path`, files of one's own."""

    stage: str | None = Field(default=None, examples=["rl"])
    """Id of the RL stage from whose groups pairs are built."""
    path: PromptFile | None = Field(default=None, examples=["my_pairs.jsonl"])
    """File, folder of files, or pattern such as `data/pairs-*.parquet`."""
    source: Literal["file", "jsonl", "parquet", "datasets"] = "file"
    """Format of the files, as of a source of prompts; `file`: names and contents tell which."""
    split: Text | None = Field(default=None, examples=["train"])
    """The split to read, of a saved `DatasetDict` or of a JSON object with several lists."""
    fields: PairFields | None = Field(
        default=None, examples=[{"prompt": "question", "chosen": "best", "rejected": "worst"}]
    )
    """Where the parts of a pair are in the rows. Not set: rows have `chosen` and `rejected`, and
    `prompt` unless both are conversations."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Largest share of `max_pairs` that comes from here. The shares of several sources add up
    to 1."""

    @model_validator(mode="after")
    def _one_origin(self) -> "PairSource":
        if (self.stage is None) == (self.path is None):
            raise InvalidValue(
                "pairs need exactly one of stage and path", "write for example `path: pairs.jsonl`"
            )
        fields = type(self).model_fields
        of_files = [n for n in OF_FILES if getattr(self, n) != fields[n].default]
        if self.stage is not None and of_files:
            raise InvalidValue(
                f"{of_files[0]} is for files, and these pairs come from the stage {self.stage!r}",
                f"remove {of_files[0]}, or name files, for example `path: pairs.jsonl`",
            )
        return self

    @property
    def file(self) -> PairFile | None:
        """The files; None for those of a stage."""
        if self.path is None:
            return None
        return PairFile(
            source=self.source,
            path=self.path,
            split=self.split,
            fields=self.fields,
            on_bad_row=self.on_bad_row,
        )


def _form(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "several"
    return "single" if isinstance(value, dict | PairSource) else "named"


Pairs = Annotated[
    Annotated[str, Tag("named")]
    | Annotated[PairSource, Tag("single")]
    | Annotated[tuple[PairSource, ...], Tag("several")],
    Discriminator(_form),
]
"""The id of an RL stage, a source of pairs, or several with shares."""


def pair_sources(pairs: str | PairSource | tuple[PairSource, ...]) -> tuple[PairSource, ...]:
    """The sources that a recipe names."""
    if isinstance(pairs, str):
        return (PairSource(stage=pairs),)
    return (pairs,) if isinstance(pairs, PairSource) else pairs
