"""Stages of other runs that a recipe adopts: which folders can be, and what their records say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import BadInput, RunFailed
from common.files import checksum
from pipeline.store.record import RECORD, problems_in, read_record, require_weights
from stages.adopt.config import ORIGIN, AdoptStage
from stages.reference import CHECKPOINT_KINDS, StageConfig

ADOPTABLE = (*CHECKPOINT_KINDS, "judge_filter", "prompts")
"""Kinds whose output another stage can read."""


class _File(BaseModel):
    model_config = ConfigDict(strict=True)
    size: int
    sha256: str


class _Identity(BaseModel):
    model_config = ConfigDict(strict=True)
    kind: str


class _Record(BaseModel):
    """What adopting reads of a record. It comes from somebody else's folder."""

    model_config = ConfigDict(strict=True)
    identity: _Identity
    files: dict[str, _File]
    metrics: dict[str, Any]


def wrong_stage(folder: Path) -> tuple[str, str] | None:
    """Why a folder cannot be adopted, and what to do."""
    remedy = "name a finished stage's folder, such as ../runs/other/03-filter"
    try:
        record = read_record(folder)
        if record is None:
            return f"{folder} is no finished stage: it has no {RECORD}", remedy
        kind = _Record.model_validate(record).identity.kind
    except OSError as error:
        return f"{folder}: cannot be read: {error.strerror}", remedy
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        return (
            (
                f"{folder / RECORD} is no record of a stage: {field} is missing, or not what uphill"
                " writes there"
            ),
            remedy,
        )
    except BadInput as error:
        return error.message, error.remedy
    return (
        None
        if kind in ADOPTABLE
        else (f"{folder} is of kind {kind!r}, not {', '.join(ADOPTABLE)}", remedy)
    )


def require_source(stage: str, folder: Path) -> None:
    """BadInput unless the files that a stage would adopt are there, before anything is moved aside
    for them."""
    if wrong := wrong_stage(folder):
        raise BadInput(*wrong)
    for path, problem in problems_in(folder, read_record(folder) or {"files": {}}, whole=False):
        raise BadInput(
            f"{path}: {problem}, and stage {stage!r} would adopt it",
            "make its stage again in its run",
        )
    require_weights(folder, folder.name)


def require_origin(folder: Path, identity: Mapping[str, Any]) -> None:
    """RunFailed when a stage has adopted something else than the plan says: its source was made
    again meanwhile."""
    if wrong := origin_problem(folder, {"identity": identity}):
        raise RunFailed(
            wrong,
            "its stage was made again meanwhile: give the same command again, it says what changed",
        )


def adopted_record(stage: AdoptStage) -> dict[str, Any] | None:
    """The record of what a stage adopts; None where `wrong_stage` has an objection."""
    folder = Path(stage.folder)
    return None if wrong_stage(folder) else read_record(folder)


def origin_of(record: Mapping[str, Any]) -> str | None:
    """Of a finished stage that was adopted, how the checksum of the record begins that it was
    adopted by."""
    config = record["identity"].get("config", {})
    return str(config["folder"]).removeprefix("content ") if config.get("kind") == "adopt" else None


def origin_problem(folder: Path, record: Mapping[str, Any]) -> str | None:
    """What is wrong with a finished stage that was adopted: its files are of another execution than
    it says."""
    origin, kept = origin_of(record), folder / ORIGIN
    if origin is None or (kept.is_file() and checksum(kept).startswith(origin)):
        return None
    return f"{folder / ORIGIN}: is not the record ({origin} ...) of what was to be adopted"


def kind_of(stage: StageConfig, written: str) -> str | None:
    """The kind of a stage, `written` in the recipe; of an adopted one that which it had in its run,
    None if unknown."""
    if not isinstance(stage, AdoptStage):
        return written
    record = adopted_record(stage)
    return str(record["identity"]["kind"]) if record else None
