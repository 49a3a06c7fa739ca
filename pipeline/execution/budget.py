"""Compares the cost of a run so far with the recipe's `budget`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.artifacts import METRICS
from pipeline.execution.attempt import Attempt, earlier_seconds
from pipeline.execution.state import NodeState

RUNNING = ("tokens_generated_total", "tokens_trained_total", "num_tokens")
"""Figures in `metrics.jsonl` that count the tokens of a stage so far."""


@dataclass
class Budget:
    """The budget as seen by one stage. `exceeded` is called before the stage runs and during it."""

    hours: float | None
    tokens: int | None
    seconds_before: float
    tokens_before: int
    attempt: Attempt
    """The stage's attempt. The logs of its earlier attempts count as well."""
    _seen: tuple[int, int] = (0, 0)
    """Size of the stage's metrics file when it was last read, and the tokens that it counted."""

    @classmethod
    def of(
        cls, limits: Mapping[str, Any], states: Mapping[str, NodeState], attempt: Attempt
    ) -> "Budget":
        """The budget `limits` with the cost of all finished and unfinished stages in `states`."""
        records = [state.record for state in states.values() if state.record]
        seconds = sum(record["seconds"] for record in records)
        seconds += sum(
            earlier_seconds(state.partial) for state in states.values() if not state.record
        )
        tokens = sum(record["tokens_generated"] + record["tokens_trained"] for record in records)
        return cls(limits.get("hours"), limits.get("tokens"), seconds, tokens, attempt)

    def exceeded(self) -> str | None:
        """Why the run must stop; None if it need not."""
        seconds = self.seconds_before + self.attempt.seconds() - self.attempt.seconds_before
        tokens = self.tokens_before + self._running()
        if self.hours is not None and seconds > self.hours * 3600:
            return f"its stages took {seconds / 3600:.2f} of budget.hours: {self.hours:g}"
        if self.tokens is not None and tokens >= self.tokens:
            return f"it generated and trained on {tokens:,} of budget.tokens: {self.tokens:,}"
        return None

    def _running(self) -> int:
        """Tokens that the running stage has logged. 0 for an adopted stage: its copied log counts
        tokens of another run."""
        if not self.attempt.node.has_output(METRICS):
            return 0
        path = METRICS.path(self.attempt.partial)
        size = os.path.getsize(path) if path.exists() else 0
        if size != self._seen[0]:
            last = (METRICS.read(self.attempt.partial) or [{}])[-1]
            self._seen = size, int(sum(last.get(name, 0) for name in RUNNING))
        return self._seen[1]
