"""A request to run a plan or a part of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.execution.progress import Reporter
from pipeline.execution.signals import SECONDS_TO_SAVE
from pipeline.planning.plan import Node, Plan, chosen


@dataclass(frozen=True)
class RunRequest:
    """Which part of a plan to run, in which folder."""

    plan: Plan
    run: Path
    only: str | None = None
    """Id of the only stage to run."""
    until: str | None = None
    """Id of the last stage to run."""
    redo: Sequence[str] = ()
    """Ids of finished stages to run again, with the stages that depend on them."""
    reporter: Reporter = field(default_factory=Reporter)
    grace: float = SECONDS_TO_SAVE
    """Seconds that a stage has to save its state after a stop request."""

    def nodes(self) -> Sequence[Node]:
        """The selected nodes, in order."""
        return chosen(self.plan, self.only, self.until)
