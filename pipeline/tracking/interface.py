"""What an experiment tracker does for uphill. Each has a file of its own; `registry.py` lists them.

A tracker runs in a process of its own (`sender.py`), so it may raise, print, start threads and wait
for a network: none of that reaches the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

Row = Sequence[str | int | float | bool | None]


class Unusable(Exception):
    """What a tracker needs is missing, which is known before the run begins."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


@dataclass(frozen=True)
class StageRun:
    """One execution of a stage: a run of its own in the tracker."""

    project: str
    """The recipe's name."""
    group: str
    """Name of the run's folder."""
    name: str
    """The stage's id, with a number after it where the stage was run again from its beginning."""
    kind: str
    id: str
    """Letters and digits that no other execution of a stage has, in any run."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The stage's config and what else identifies it."""


@dataclass(frozen=True)
class Table:
    """Samples. Every text in it is plain: it may be cut, and has no control characters."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]


class Tracker(Protocol):
    """A tracker. One run is open at a time."""

    rewrites: ClassVar[bool]
    """Whether a curve that is begun again replaces the old one. Otherwise points that were sent
    cannot be taken back."""
    prefix: ClassVar[str]
    """What the names of a training stage's figures begin with, as in transformers' callbacks."""

    def __init__(self, folder: Path) -> None:
        """Loads the library. `folder` is for files that the tracker keeps on this machine."""

    def check(self) -> None:
        """Raises Unusable where the tracker cannot work."""

    def begin(self, run: StageRun, known: str | None) -> tuple[str, int | None]:
        """Open a run: a new one, or with `known` the one that has this name in the tracker. Its
        name there, and the last step that it has; None if only the sender knows."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""

    def table(self, step: int, table: Table) -> None:
        """Add a table."""

    def end(self, step: int, summary: Mapping[str, float], complete: bool) -> None:
        """Add the figures of the whole stage and close the run. A stage that is not `complete` goes
        on later."""
