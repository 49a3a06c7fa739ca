"""What adopting reads of a finished stage's record, which comes from another run; light."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from common.files import read_json

RECORD = "record.json"
"""Where a finished stage says what it is (`pipeline/store/record.py` writes it)."""


class AdoptedFile(BaseModel):
    """A file of the stage."""

    model_config = ConfigDict(strict=True)
    size: int
    sha256: str


class AdoptedRecord(BaseModel):
    """A record as far as adopting depends on it."""

    model_config = ConfigDict(strict=True)
    kind: str
    produces: list[str]
    """Names of the artifacts that the stage left."""
    files: dict[str, AdoptedFile]
    metrics: dict[str, Any]


def read_adopted(folder: Path) -> AdoptedRecord | None:
    """The record in `folder`; None where it cannot be read, which `pipeline/store/adopted.py`
    explains."""
    try:
        return AdoptedRecord.model_validate(read_json(folder / RECORD))
    except (OSError, ValueError, RecursionError, ValidationError):
        return None
