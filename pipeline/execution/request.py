"""What part of a plan a command wants to run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.execution.process import SECONDS_TO_SAVE
from pipeline.execution.progress import Reporter
from pipeline.planning.plan import Node, Plan, chosen


@dataclass(frozen=True)
class RunRequest:
    """What part of a plan to run, in which folder."""

    plan: Plan
    run: Path
    only: str | None = None
    until: str | None = None
    redo: Sequence[str] = ()
    reporter: Reporter = field(default_factory=Reporter)
    grace: float = SECONDS_TO_SAVE
    """Seconds that a stage gets to save its state when a stop is asked for."""

    def nodes(self) -> Sequence[Node]:
        return chosen(self.plan, self.only, self.until)
