"""Settings of a suite that hides a sentence in a long text and asks for it; light."""

from typing import Annotated

from pydantic import Field

from common.config import Config
from prompts.files import SuiteFileRows
from prompts.mapping import RowField, RowFields

LEAST_WORDS = 50
Length = Annotated[int, Field(ge=LEAST_WORDS)]
Depth = Annotated[int, Field(ge=0, le=100)]


class TextFields(RowFields):
    """Where the text is in rows."""

    text: RowField = Field(examples=["passage"])
    """The text of a row."""


class Haystack(SuiteFileRows):
    """Text in which something is hidden: plain text files, or the rows of other files."""

    fields: TextFields | None = Field(default=None, examples=[{"text": "passage"}])
    """Where the text is in the rows; not set: the files are plain text."""


class Needle(Config):
    """Prompts that hide a sentence with a number in a long text and ask for the number."""

    text: Haystack
    """The text. Lines of fewer than 20 words, such as headings, are left out."""
    words: tuple[Length, ...] = Field(min_length=1, examples=[[500, 1000]])
    """Lengths of the text that is shown, in words. Choose those that fit into `max_model_len`: a
    word is one and a half tokens or so."""
    depths: tuple[Depth, ...] = Field(default=(0, 25, 50, 75, 100), min_length=1)
    """Where the sentence stands, in percent of the text before it."""
    count: int = Field(default=10, ge=1)
    """Prompts of each length and depth."""
