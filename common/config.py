"""The base of every config: frozen, strict, documented by the docstring under each field."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Config(BaseModel):
    """A recipe section. Unknown fields are errors; values cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Wrong(ValueError):
    """What a validator of a config finds wrong, with what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _not_blank(text: str) -> str:
    if not text.strip():
        raise Wrong(f"is blank, got {text!r}", "write a text, or leave the field out if it has a default")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]
"""A text that says something."""
