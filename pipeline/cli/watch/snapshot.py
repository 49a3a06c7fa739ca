"""What a run's folder says at one moment: the stages, and of one of them progress, rates, curves
and the last replies. Nothing here has been made safe to print; `view.py` does that."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.artifacts import GROUPS, METRICS
from pipeline.cli.samples import folder_now, reply_facts
from pipeline.cli.status import note_on
from pipeline.cli.watch.reading import Tail, last_rows
from pipeline.execution.logs import log_of
from pipeline.execution.progress import short
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import NodeState, inspect, read_small
from pipeline.planning.plan import Node, Plan
from pipeline.store.record import ATTEMPT

CURVES = (
    *("reward", "pass_rate", "mixed_share", "dev/score", "kl", "loss"),
    *("rewards/accuracies", "mean_token_accuracy"),
)
"""The figures that are drawn, where a stage has them."""
PACE = ("step", "epoch", "step_time", "tokens_generated", "num_tokens")
RECENT = 5
"""Steps over which the pace is averaged."""
END_OF_GROUPS = 4_000_000
"""Bytes at the end of the groups in which the last replies are looked for."""
END_OF_LOG = 100_000
REPLIES = 8
NOTE = "note: "
"""What begins a line for people in a stage's log (`pipeline/execution/channel.py`)."""


@dataclass(frozen=True)
class StageRow:
    """A line of the list of stages."""

    id: str
    state: str
    seconds: float | None
    figures: str


@dataclass(frozen=True)
class Shown:
    """The stage that is shown in detail."""

    id: str
    state: str
    step: int = 0
    total: int | None = None
    seconds_per_step: float | None = None
    tokens_per_second: float | None = None
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    replies: Sequence[tuple[str, str]] = ()
    """What is known of a reply, and the reply; the last ones."""
    note: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Until the last step, at the present pace."""
        if self.state != "running" or self.total is None or self.seconds_per_step is None:
            return None
        return max(0, self.total - self.step) * self.seconds_per_step


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    run: str
    stages: Sequence[StageRow]
    shown: Shown | None

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return all(stage.state == "done" for stage in self.stages)


class Watcher:
    """Takes snapshots of a run. What it has read of a growing file is kept."""

    def __init__(self, run: Path, stage: str | None = None) -> None:
        self.run, self.stage = run, stage
        self._tails: dict[Path, Tail] = {}
        self._first: tuple[Path, float, int] | None = None

    def snapshot(self, now: float) -> Snapshot:
        """The run at the time `now`, in seconds since the epoch. BadInput for an unreadable run or
        an unknown stage, OSError where a folder vanished meanwhile."""
        plan = load_plan(self.run)
        states = inspect(plan, self.run)
        rows = [_row(node, states[node.id], now) for node in plan.nodes]
        node = plan[self.stage] if self.stage else _most_interesting(plan, states)
        shown = None if node is None else self._shown(node, states[node.id], now)
        return Snapshot(plan.name, rows, shown)

    def _shown(self, node: Node, state: NodeState, now: float) -> Shown:
        folder = folder_now(state)
        rows = self._metrics(METRICS.path(folder))
        last: Mapping[str, Any] = rows[-1] if rows else {}
        step = last.get("step", 0)
        seen = self._seen(METRICS.path(folder), step)
        return Shown(
            id=node.id,
            state=state.state,
            step=step,
            total=_total(node.config, last),
            seconds_per_step=_timed(rows) or seen or _average(step, _seconds(state, now)),
            tokens_per_second=_tokens(rows, _seconds(state, now)),
            curves=_curves(rows),
            replies=_replies(folder) if node.has_output(GROUPS) else (),
            note=note_on(state) or _last_note(folder),
        )

    def _seen(self, path: Path, step: int) -> float | None:
        """Seconds per step since this file was first looked at, by the times of its last lines."""
        try:
            moment = path.stat().st_mtime
        except OSError:
            return None
        if not step or self._first is None or self._first[0] != path or step < self._first[2]:
            self._first = (path, moment, step) if step else None
            return None
        _, began, first = self._first
        return (moment - began) / (step - first) if step > first and moment > began else None

    def _metrics(self, path: Path) -> list[dict[str, Any]]:
        if path not in self._tails:
            self._tails = {path: Tail(path, (*PACE, *CURVES))}
        return self._tails[path].update()


def _most_interesting(plan: Plan, states: Mapping[str, NodeState]) -> Node | None:
    """The stage that runs; else one that failed; else the last finished one that rolled out, or
    that trained."""
    for wanted in ("running", "failed"):
        for node in plan.nodes:
            if states[node.id].state == wanted:
                return node
    done = [node for node in plan.nodes if states[node.id].record is not None]
    for artifact in (GROUPS, METRICS):
        if found := [node for node in done if node.has_output(artifact)]:
            return found[-1]
    return None


def _row(node: Node, state: NodeState, now: float) -> StageRow:
    metrics = (state.record or {}).get("metrics", {})
    figures = note_on(state) or short(metrics, 3)
    return StageRow(node.id, state.state, _seconds(state, now), figures)


def _seconds(state: NodeState, now: float) -> float | None:
    """How long a stage took, or has run; None for one that did not begin."""
    if state.record is not None:
        return float(state.record["seconds"])
    attempt = read_small(state.partial / ATTEMPT)
    if attempt is None:
        return None
    before, started = float(attempt.get("seconds_before") or 0.0), attempt.get("started")
    if state.state != "running" or started is None:
        return before
    return before + max(0.0, now - float(started))


def _total(config: Mapping[str, Any], last: Mapping[str, Any]) -> int | None:
    """The number of steps: the stage's own, or what the epochs come to at the present one."""
    if isinstance(steps := config.get("steps"), int):
        return steps
    epoch, step = last.get("epoch"), last.get("step")
    if not isinstance(epoch, (int, float)) or not isinstance(step, int) or epoch <= 0:
        return None
    return max(step, round(step * float(config.get("epochs") or 1.0) / epoch))


def _timed(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds per step where the last steps were timed; those of RL are."""
    timed = [row["step_time"] for row in rows[-RECENT:] if _finite(row.get("step_time"))]
    return float(sum(timed) / len(timed)) if timed else None


def _average(step: int, seconds: float | None) -> float | None:
    """Seconds per step of the whole stage, its start included."""
    return seconds / step if seconds and step else None


def _tokens(rows: Sequence[Mapping[str, Any]], seconds: float | None) -> float | None:
    """Tokens per second: generated in the last steps, else trained on in the whole stage."""
    timed = [
        row
        for row in rows[-RECENT:]
        if _finite(row.get("step_time")) and _finite(row.get("tokens_generated"))
    ]
    if (duration := sum(row["step_time"] for row in timed)) > 0:
        return float(sum(row["tokens_generated"] for row in timed) / duration)
    trained: Any = rows[-1].get("num_tokens") if rows else None
    return float(trained) / seconds if seconds and _finite(trained) else None


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each figure's values, step by step; what is no finite number is left out."""
    curves = {name: [float(r[name]) for r in rows if _finite(r.get(name))] for name in CURVES}
    return {name: values for name, values in curves.items() if values}


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _replies(folder: Path) -> list[tuple[str, str]]:
    """The last replies of the last groups, one of each group, the newest first."""
    groups = last_rows(GROUPS.path(folder), END_OF_GROUPS)[-REPLIES:]
    replies = []
    for group in reversed(groups):
        for member in (group.get("members") or [])[-1:]:
            tokens = len(member.get("token_ids") or ())
            known = {name: member.get(name) for name in ("reward", "fault")}
            facts = reply_facts({**known, "tokens": tokens}).removeprefix("reply, ")
            replies.append((facts, str(member.get("text", ""))))
    return replies


def _last_note(folder: Path) -> str:
    """The last line for people in the stage's log."""
    try:
        with log_of(folder, 0).open("rb") as handle:
            handle.seek(max(0, log_of(folder, 0).stat().st_size - END_OF_LOG))
            text = handle.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    notes = [line for line in text.split("\n") if line.startswith(NOTE)]
    return notes[-1].removeprefix(NOTE) if notes else ""
