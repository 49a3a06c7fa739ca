"""Prompt records as rows of SQLite, and the merge of two records of one prompt."""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from curriculum.database import PROMPTS
from curriculum.posterior import Beta
from curriculum.records import PromptRecord


def to_values(record: PromptRecord) -> tuple[Any, ...]:
    """The record's values in the order of the columns of PROMPTS."""
    values = {name: getattr(record, name) for name in PROMPTS if name not in ("prior_a", "prior_b")}
    values |= {"prior_a": record.prior.a, "prior_b": record.prior.b}
    values["faults"] = to_json(record.faults)
    values["verdict"] = None if record.verdict is None else to_json(record.verdict)
    return tuple(values[name] for name in PROMPTS)


def to_record(row: sqlite3.Row) -> PromptRecord:
    """The record in a row of the table `prompts`."""
    values = dict(row)
    prior = Beta(values.pop("prior_a"), values.pop("prior_b"))
    values["faults"] = json.loads(values["faults"])
    values["verdict"] = None if values["verdict"] is None else json.loads(values["verdict"])
    return PromptRecord(prior=prior, **values)


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no NaN."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def added(mine: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, int]:
    """Two counts by reason together, reasons without any left out."""
    return {
        name: count for name, count in sorted((Counter(mine) + Counter(theirs)).items()) if count
    }


def merged(mine: PromptRecord, theirs: PromptRecord, decay: float) -> PromptRecord:
    """The evidence of both records, faded to the later version, and the later change of state."""
    versions = [r.seen_version for r in (mine, theirs) if r.seen_version is not None]
    seen = max(versions, default=None)
    my_passes, my_fails = mine.evidence(decay, seen or 0)
    their_passes, their_fails = theirs.evidence(decay, seen or 0)
    my_sums, their_sums = mine.reward_sums(decay, seen or 0), theirs.reward_sums(decay, seen or 0)
    latest = max(
        (mine, theirs),
        key=lambda r: (-1 if r.state_version is None else r.state_version, r.state),
    )
    return replace(
        mine,
        passes=my_passes + their_passes,
        fails=my_fails + their_fails,
        rewards=my_sums[0] + their_sums[0],
        squares=my_sums[1] + their_sums[1],
        seen_version=seen,
        drawn=mine.drawn + theirs.drawn,
        faults=added(mine.faults, theirs.faults),
        state=latest.state,
        state_version=latest.state_version,
    )
