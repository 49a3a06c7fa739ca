"""Settings of files of preference pairs; light."""

from pydantic import Field

from prompts.files import FileRows
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
