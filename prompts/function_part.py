"""The part of a reward that a function of the user's gives; light, runs nothing of it."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from common.config import Text
from common.errors import BadInput
from common.user_files import UserFile
from prompts.part import RewardPart


class _Function(RewardPart):
    """Fields of a function of the user's, in a recipe and with a prompt."""

    verifier: Literal["function"]
    function: Text = Field(default="score", examples=["score"])
    """Name of the function: `score(prompt: dict, answer: str) -> float`, a number from 0 to 1."""
    time_limit_s: float = Field(default=10.0, gt=0)
    """Longest time for one answer, in seconds; after it the answer has the fault `timeout`."""


class FunctionPart(_Function):
    """A function of the user's, as a recipe names it."""

    file: Annotated[Text, UserFile("function")] = Field(examples=["my_reward.py"])
    """A Python file. It runs with your own rights, and it has to be complete in itself: what it
    imports is installed."""

    def stored(self) -> dict[str, Any]:
        """With the file's text, so that a prompt is graded by what its stage's identity holds, and
        wherever the file is by then. Raises BadInput."""
        name, text = read_text(Path(self.file))
        return {**super().stored(), "file": name, "source": text}


class StoredFunction(_Function):
    """A function of the user's, as prompts hold it."""

    file: str
    """The file's name, for messages."""
    source: str
    """Its text."""


def located(part: RewardPart, folder: Path) -> RewardPart:
    """The part with the paths of its files resolved against `folder`."""
    files = {
        name: str(folder / getattr(part, name))
        for name, field in type(part).model_fields.items()
        if any(isinstance(mark, UserFile) for mark in field.metadata)
    }
    return part.model_copy(update=files)


def read_text(path: Path) -> tuple[str, str]:
    """Name and text of a file of the user's. Raises BadInput. A text that was read is kept, as
    every row of a source asks for it."""
    try:
        stat = path.stat()
        return path.name, _text(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}", "give a file in UTF-8") from error


@lru_cache(maxsize=16)
def _text(path: Path, changed_ns: int, size: int) -> str:
    return path.read_text(encoding="utf-8-sig")
