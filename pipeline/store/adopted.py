"""Stages of other runs that a recipe adopts: which folders can be, and what their records say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.artifacts import ORIGIN, SHARED
from common.errors import BadInput, RunFailed
from common.files import checksum
from pipeline.store.record import RECORD, problems_in, read_record, require_weights
from stages.adopt.record import AdoptedRecord

REMEDY = "name a finished stage's folder, such as ../runs/other/03-filter"


def wrong_stage(folder: Path) -> tuple[str, str] | None:
    """Why a folder cannot be adopted, and what to do."""
    try:
        record = read_record(folder)
        if record is None:
            return f"{folder} is no finished stage: it has no {RECORD}", REMEDY
        adopted = AdoptedRecord.model_validate(record)
    except OSError as error:
        return f"{folder}: cannot be read: {error.strerror}", REMEDY
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        message = (
            f"{folder / RECORD} is no record of a stage: {field} is missing, or not what uphill"
            " writes there"
        )
        return message, REMEDY
    except BadInput as error:
        return error.message, error.remedy
    if not set(adopted.produces) & SHARED.keys():
        message = f"{folder} is of kind {adopted.kind!r}, which leaves nothing for other stages"
        return f"{message} ({', '.join(SHARED)})", REMEDY
    return None


def require_source(stage: str, folder: Path) -> None:
    """BadInput unless the files that a stage would adopt are there, before anything is moved aside
    for them."""
    if wrong := wrong_stage(folder):
        raise BadInput(*wrong)
    for path, problem in problems_in(folder, read_record(folder) or {"files": {}}, whole=False):
        message = f"{path}: {problem}, and stage {stage!r} would adopt it"
        raise BadInput(message, "make its stage again in its run")
    require_weights(folder, folder.name)


def require_origin(folder: Path, identity: Mapping[str, Any]) -> None:
    """RunFailed when a stage has adopted something else than the plan says: its source was made
    again meanwhile."""
    if wrong := _origin_problem(folder, identity):
        remedy = (
            "its stage was made again meanwhile: give the same command again, it says what changed"
        )
        raise RunFailed(wrong, remedy)


def origin_of(record: Mapping[str, Any]) -> str | None:
    """Of a finished stage that was adopted, how the checksum of the record begins that it was
    adopted by."""
    return _adopted_by(record["identity"]) if ORIGIN.name in record["produces"] else None


def origin_problem(folder: Path, record: Mapping[str, Any]) -> str | None:
    """What is wrong with a finished stage that was adopted."""
    return _origin_problem(folder, record["identity"]) if origin_of(record) else None


def _adopted_by(identity: Mapping[str, Any]) -> str:
    return str(identity["config"]["folder"]).removeprefix("content ")


def _origin_problem(folder: Path, identity: Mapping[str, Any]) -> str | None:
    """That the adopted files are of another execution than the identity says."""
    origin, kept = _adopted_by(identity), ORIGIN.path(folder)
    if kept.is_file() and checksum(kept).startswith(origin):
        return None
    return f"{kept}: is not the record ({origin} ...) of what was to be adopted"
