"""Routers and parity: do all experts work, and do engine and trainer compute the same?"""

from collections.abc import Mapping, Sequence
from typing import Any

from common.artifacts import ROUTING
from report.figures import curve, figure, series
from report.reading import rows
from report.sections.curves import STEP, metrics_of
from report.source import RunSource, StageSource

Rows = Sequence[Mapping[str, Any]]
LOADS = {
    "router/load_entropy": "entropy of the load, 1 is even",
    "router/largest_load": "largest share of one expert",
    "router/drift": "tokens routed otherwise than at the start",
}
GAPS = {
    "parity/rollout_gap": "gap of the rollouts",
    "parity/probe_gap": "gap of the probes",
    "tolerance": "tolerance",
}


def health(run: RunSource, number: int) -> list[dict[str, Any]]:
    """The training stages, each with its last figures and plots."""
    found = []
    for place, stage in enumerate(run.stages):
        logged, limit = metrics_of(stage), tolerance_of(stage)
        prefix = f"r{number}s{place}"
        drawn = [*_routers(prefix, logged), *_layers(prefix, stage)]
        drawn += _parity(prefix, logged, limit)
        if drawn:
            found.append({"stage": stage.id, **last_figures(logged, limit), "figures": drawn})
    return found


def last_figures(logged: Rows, limit: float | None) -> dict[str, Any]:
    """The last value of each metric of the routers, and the largest gap."""
    last: dict[str, Any] = {}
    for row in logged:
        last |= row
    gaps = [row[name] for row in logged for name in GAPS if name in row]
    return {
        "load_entropy": last.get("router/load_entropy"),
        "largest_load": last.get("router/largest_load"),
        "dead_experts": last.get("router/dead_experts"),
        "drift": last.get("router/drift"),
        "largest_gap": max(gaps, default=None),
        "tolerance": limit if gaps else None,
    }


def tolerance_of(stage: StageSource) -> float | None:
    """The largest gap that the stage accepts; None if it checks none."""
    exact = stage.config.get("rollouts", {}).get("dtype", "float32") == "float32"
    limit = stage.config.get("parity_tolerance" if exact else "drift_tolerance")
    return float(limit) if limit is not None else None


def _routers(prefix: str, logged: Rows) -> list[dict[str, Any]]:
    title, about = "Load of the experts", "Means over layers; drift is measured now and then."
    return [
        *curve(f"{prefix}-load", title, logged, STEP, "share", LOADS, range=[0, 1], about=about),
        *curve(
            f"{prefix}-dead",
            "Experts without tokens",
            logged,
            STEP,
            "experts",
            {"router/dead_experts": "dead experts"},
        ),
    ]


def _layers(prefix: str, stage: StageSource) -> list[dict[str, Any]]:
    """The load of each layer's experts at the end, the busiest expert first."""
    last: Mapping[str, Any] = {}
    for row in rows(stage, ROUTING):
        last = row
    loads = {layer: sorted(load, reverse=True) for layer, load in last.get("load", {}).items()}
    if not loads:
        return []
    shown = min(max(map(len, loads.values())), 6)
    drawn = [
        series(_rank(place), [dict(enumerate(load)).get(place) for load in loads.values()])
        for place in range(shown)
    ]
    title = f"Load by layer after step {last['step']}"
    names = [f"layer {layer}" for layer in loads]
    return [figure(f"{prefix}-layers", title, "bars", names, "layer", "share of the tokens", drawn)]


def _rank(place: int) -> str:
    return "busiest expert" if place == 0 else f"expert no. {place + 1}"


def _parity(prefix: str, logged: Rows, limit: float | None) -> list[dict[str, Any]]:
    gaps = [row for row in logged if "parity/rollout_gap" in row or "parity/probe_gap" in row]
    with_limit = [{**row, "tolerance": limit} if limit else row for row in gaps]
    return curve(
        f"{prefix}-parity",
        "Engine and trainer: gap of the log-probabilities",
        with_limit,
        STEP,
        "nats per token",
        GAPS,
        dashed=["tolerance"],
        log=True,
        about="Mean absolute difference. The stage stops beyond the tolerance.",
    )
