"""Marks on the types of fields that name files or folders of the user.

A marked field is resolved against the recipe's folder and checked. The stage's identity contains
the file's content in place of its path (`pipeline/recipe/user_files.py`)."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class UserFile:
    """Marks a text as the path of a file or folder."""

    what: Literal["function", "model", "prompts", "suite", "template", "stage"]
    """What the file or folder contains."""


@dataclass(frozen=True)
class TokenizerOnly:
    """Marks a model of which a stage does not read the weights."""


ModelFolder = Annotated[str, UserFile("model")]
"""A checkpoint folder of the user, or the name of a packaged model."""
