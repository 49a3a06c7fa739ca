"""The base class of all configs: strict and frozen; the docstring under a field documents it."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Config(BaseModel):
    """A recipe section. Unknown fields are errors; values cannot change after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class InvalidValue(ValueError):
    """The error of a config's validator, with a remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(f"must be a text that is not blank, got {text!r}")
    return text


def _folder_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", text):
        allowed = "at most 100 letters, digits, - and _, the first a letter or digit"
        raise InvalidValue(
            f"must be {allowed}, got {text!r:.80}", "write for example `name: my_run`"
        )
    return text


FolderName = Annotated[str, AfterValidator(_folder_name)]
"""A text that is a valid folder name on every system."""
Text = Annotated[str, AfterValidator(_not_blank)]
"""A text that is not blank."""
