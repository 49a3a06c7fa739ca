"""Checks on stages of other runs that a recipe adopts."""

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


def adoption_problem(folder: Path) -> tuple[str, str] | None:
    """Why a folder cannot be adopted, and the remedy; None if it can be."""
    try:
        record = read_record(folder)
        if record is None:
            return f"{folder} is not a finished stage: it has no {RECORD}", REMEDY
        adopted = AdoptedRecord.model_validate(record)
    except OSError as error:
        return f"{folder}: cannot be read: {error.strerror}", REMEDY
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        message = (
            f"{folder / RECORD} is not a record of a stage: {field} is missing, or not what uphill"
            " writes there"
        )
        return message, REMEDY
    except BadInput as error:
        return error.message, error.remedy
    if not set(adopted.produces) & SHARED.keys():
        message = f"{folder} is of kind {adopted.kind!r}, which produces nothing for other stages"
        return f"{message} ({', '.join(SHARED)})", REMEDY
    return None


def require_source(stage: str, folder: Path) -> None:
    """BadInput unless all files that a stage would adopt exist. Called before any older folder is
    moved aside."""
    if problem := adoption_problem(folder):
        raise BadInput(*problem)
    record = read_record(folder) or {"files": {}}
    for path, difference in problems_in(folder, record, whole=False):
        message = f"{path}: {difference}, and stage {stage!r} would adopt it"
        raise BadInput(message, "run its stage again in its own run")
    require_weights(folder, folder.name)


def require_origin(folder: Path, identity: Mapping[str, Any]) -> None:
    """RunFailed when the adopted files are not those of the plan, because the adopted stage ran
    again meanwhile."""
    if problem := _origin_problem(folder, identity):
        remedy = (
            "the adopted stage ran again meanwhile: run the same command again to see what changed"
        )
        raise RunFailed(problem, remedy)


def origin_of(record: Mapping[str, Any]) -> str | None:
    """The first characters of the checksum of the adopted record; None if the stage was not
    adopted."""
    return _adopted_by(record["identity"]) if ORIGIN.name in record["produces"] else None


def origin_problem(folder: Path, record: Mapping[str, Any]) -> str | None:
    """What is wrong with an adopted stage; None if nothing is, or if it was not adopted."""
    return _origin_problem(folder, record["identity"]) if origin_of(record) else None


def _adopted_by(identity: Mapping[str, Any]) -> str:
    return str(identity["config"]["folder"]).removeprefix("content ")


def _origin_problem(folder: Path, identity: Mapping[str, Any]) -> str | None:
    """The message if the adopted files are of another execution than the identity states."""
    origin, path = _adopted_by(identity), ORIGIN.path(folder)
    if path.is_file() and checksum(path).startswith(origin):
        return None
    return f"{path}: is not the record ({origin} ...) of the stage to adopt"
