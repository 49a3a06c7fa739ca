"""Stages of other runs that a recipe adopts: which folders can be, and what their records say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import BadInput
from pipeline.record import RECORD, read_record
from stages.adopt.config import AdoptStage
from stages.reference import CHECKPOINT_KINDS, StageConfig

ADOPTABLE = (*CHECKPOINT_KINDS, "judge_filter", "prompts")
"""Kinds whose output another stage can read."""


def wrong_stage(folder: Path) -> tuple[str, str] | None:
    """Why a folder cannot be adopted, and what to do."""
    remedy = "name a finished stage's folder, such as ../runs/other/03-filter"
    try:
        record = read_record(folder)
    except BadInput as error:
        return error.message, error.remedy
    if record is None:
        return f"{folder} is no finished stage: it has no {RECORD}", remedy
    kind = record["identity"]["kind"]
    return None if kind in ADOPTABLE else (f"{folder} is of kind {kind!r}, not {', '.join(ADOPTABLE)}", remedy)


def adopted_record(stage: AdoptStage) -> dict[str, Any] | None:
    """The record of what a stage adopts; None where `wrong_stage` has an objection."""
    folder = Path(stage.folder)
    return None if wrong_stage(folder) else read_record(folder)


def origin_of(record: Mapping[str, Any]) -> str | None:
    """Of a finished stage that was adopted, how the checksum of the record begins that it was adopted by."""
    config = record["identity"].get("config", {})
    return str(config["folder"]).removeprefix("content ") if config.get("kind") == "adopt" else None


def kind_of(stage: StageConfig, written: str) -> str | None:
    """The kind of a stage, `written` in the recipe; of an adopted one that which it had in its run, None if unknown."""
    if not isinstance(stage, AdoptStage):
        return written
    record = adopted_record(stage)
    return str(record["identity"]["kind"]) if record else None
