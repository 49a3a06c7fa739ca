"""What ran: time, tokens, memory and cost of each stage."""

from collections.abc import Sequence
from typing import Any

from report.source import RunSource, StageSource

SUMMED = ("seconds", "tokens_generated", "tokens_trained", "cost")


def stages(run: RunSource, price_per_hour: float | None) -> dict[str, Any]:
    """`rows` of every stage and their `total`. A cost is seconds x price / 3600."""
    rows = [_row(stage, price_per_hour) for stage in run.stages]
    machines = dict.fromkeys(row["machine"] for row in rows if row["machine"])
    return {
        "rows": rows,
        "machines": list(machines),
        "price_per_hour": price_per_hour,
        "total": {name: _total(rows, name) for name in SUMMED},
    }


def _row(stage: StageSource, price: float | None) -> dict[str, Any]:
    record = stage.record or {}
    seconds = record.get("seconds")
    generated, trained = record.get("tokens_generated"), record.get("tokens_trained")
    tokens = (generated or 0) + (trained or 0)
    note = stage.note or ("its weights were removed by runtime.keep" if stage.pruned else "")
    return {
        "id": stage.id,
        "kind": stage.kind,
        "state": stage.state,
        "note": note,
        "machine": record.get("machine"),
        "seconds": seconds,
        "tokens_generated": generated,
        "tokens_trained": trained,
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "peak_memory_mib": record.get("peak_memory_mib"),
        "attempts": record.get("attempts"),
        "cost": None if price is None or seconds is None else seconds * price / 3600,
    }


def _total(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None
