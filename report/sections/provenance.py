"""Where everything comes from: fingerprints, checksums, commits, versions, machines, seeds."""

from typing import Any

from common.artifacts import CHECKPOINT
from report.source import RunSource, StageSource


def provenance(run: RunSource) -> dict[str, Any]:
    """`stages` with their checksums, and `environments`: the distinct sets of commit, machine and
    library versions, each with its stages."""
    finished = [stage for stage in run.stages if stage.record is not None]
    environments: dict[str, dict[str, Any]] = {}
    for stage in finished:
        own = _environment(stage)
        environments.setdefault(repr(own), {**own, "stages": []})["stages"].append(stage.id)
    return {
        "stages": [_row(stage) for stage in finished],
        "environments": list(environments.values()),
    }


def _environment(stage: StageSource) -> dict[str, Any]:
    record = stage.record or {}
    names = ("commit", "machine", "versions")
    return {name: record.get(name) for name in names}


def _row(stage: StageSource) -> dict[str, Any]:
    record = stage.record or {}
    weights = {
        name: file["sha256"]
        for name, file in record.get("files", {}).items()
        if CHECKPOINT.holds_weights(name)
    }
    made_from = [
        {"input": name, "stage": made["stage"], "record": made["record"]}
        for name, made in record.get("inputs", {}).items()
    ]
    return {
        "id": stage.id,
        "kind": stage.kind,
        "fingerprint": record.get("fingerprint"),
        "record": stage.checksum,
        "weights": weights,
        "made_from": made_from,
        "adopted": stage.adopted,
        "seed": None if record.get("seed") is None else str(record["seed"]),
        "started": record.get("started"),
        "finished": record.get("finished"),
    }
