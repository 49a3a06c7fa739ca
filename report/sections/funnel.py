"""What became of the prompts, by capability: from those that were read to those that trained."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from common.artifacts import (
    BAD_ROWS,
    CONTAMINATED,
    GROUPS,
    LEDGER,
    REASONS,
    REPEATED,
    TOO_LONG,
    JsonLines,
)
from curriculum.spread import has_spread
from curriculum.states import states_by_capability
from report.figures import figure, series
from report.reading import rows
from report.source import RunSource, StageSource

Counts = dict[str, Counter[str]]
"""Step of the funnel to the number of prompts of each capability."""
DROPPED: tuple[tuple[JsonLines, str], ...] = (
    (CONTAMINATED, "dropped: overlaps a test set"),
    (TOO_LONG, "dropped: too long"),
)
REPEATS = {
    "duplicate": "dropped: duplicate",
    "held_out": "dropped: held out elsewhere",
    "contradicts": "contradicts another one (kept)",
}
DRAWN = ("drawn", "with a mixed group")
READ, HELD_OUT, TRAINING, NO_CAPABILITY = "read", "held out", "for training", "(unknown)"
KEPT_ANYWAY = REPEATS["contradicts"]


def funnel(run: RunSource, number: int) -> dict[str, Any] | None:
    """`steps` with the count of each capability, and a figure; None before prompts were read."""
    counts: Counts = {}
    for stage in run.stages:
        for step, found in _steps(stage).items():
            counts[step if step not in counts else f"{step} ({stage.id})"] = found
    counts = {name: found for name, found in counts.items() if found.total()}
    if not counts:
        return None
    capabilities = sorted({name for found in counts.values() for name in found})
    steps = [
        {"name": name, "total": found.total(), "counts": [found[one] for one in capabilities]}
        for name, found in counts.items()
    ]
    drawn = [series(one, [found[one] for found in counts.values()]) for one in capabilities]
    names = list(counts)
    picture = figure(
        f"r{number}-funnel", "Prompts by step", "bars", names, "step", "prompts", drawn
    )
    return {"capabilities": capabilities, "steps": steps, "figures": [picture]}


def _steps(stage: StageSource) -> Counts:
    return {**_gathered(stage), **_judged(stage), **_drawn(stage)}


def _gathered(stage: StageSource) -> Counts:
    """Of the stage that gathers prompts: read, dropped by reason, held out, for training."""
    by_capability = stage.metrics.get("by_capability")
    if not isinstance(by_capability, dict) or not stage.has(REPEATED):
        return {}
    dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(stage, REPEATED):
        dropped[REPEATS.get(row["kind"], row["kind"])][row["capability"]] += 1
    for artifact, name in DROPPED:
        for row in rows(stage, artifact):
            dropped[name][row["capability"]] += 1
    for _ in rows(stage, BAD_ROWS):
        dropped["left out: bad row"][NO_CAPABILITY] += 1
    own = {
        name: Counter({one: figures[key] for one, figures in by_capability.items()})
        for name, key in ((HELD_OUT, "held_out"), (TRAINING, "training"))
    }
    gone = [count for name, count in dropped.items() if name != KEPT_ANYWAY]
    return {READ: sum((*own.values(), *gone), Counter()), **dropped, **own}


def _judged(stage: StageSource) -> Counts:
    """Of a judge filter: judged, and its decisions."""
    decisions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(stage, REASONS):
        decisions[f"{row['decision']} by the judge filter"][row["capability"]] += 1
    if not decisions:
        return {}
    return {"given to the judge": sum(decisions.values(), Counter()), **decisions}


def _drawn(stage: StageSource) -> Counts:
    """Of a stage with a curriculum: the prompts that it drew, those with a group whose rewards have
    a spread, and the retired ones."""
    if not (stage.has(GROUPS) and stage.has(LEDGER)):
        return {}
    seen: dict[str, dict[str, str]] = {name: {} for name in DRAWN}
    for id, capability, mixed in _groups(stage):
        seen[DRAWN[0]][id] = capability
        if mixed:
            seen[DRAWN[1]][id] = capability
    found = {name: Counter(own.values()) for name, own in seen.items()}
    states = states_by_capability(LEDGER.path(stage.folder))
    retired = Counter({name: own.get("retired", 0) for name, own in states.items()})
    return {**found, "retired at the end": +retired}


def _groups(stage: StageSource) -> Iterator[tuple[str, str, bool]]:
    """Prompt, capability, and whether the group has a gradient, of each group of rollouts."""
    for row in rows(stage, GROUPS):
        if not row["probe"]:
            rewards = [one["reward"] for one in row["members"] if one["fault"] is None]
            yield row["prompt_id"], row["capability"], has_spread(rewards)
