"""Which fields of a recipe name files or folders of the user, as marks on their types.

A field that is marked is resolved against the recipe's folder and checked, and what the file holds
is part of the stage's identity in place of its path (`pipeline/recipe/user_files.py`)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class UserFile:
    """Marks a text as the place of a file or folder."""

    what: Literal["model", "prompts", "template", "stage"]


@dataclass(frozen=True)
class TokenizerOnly:
    """Marks a model of which a stage reads everything but the weights."""
