"""trackio: by default a SQLite file below `TRACKIO_DIR` on this machine; a Space or a server where
trackio's own environment variables name one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import trackio
from trackio.sqlite_storage import SQLiteStorage

from pipeline.tracking.interface import StageRun, Table

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Environment variables with which trackio keeps runs somewhere else."""


class TrackioTracker:
    """Logs to trackio."""

    rewrites: ClassVar[bool] = False
    prefix: ClassVar[str] = "train/"

    def __init__(self, folder: Path) -> None:
        self._run: Any = None

    def check(self) -> None:
        """It works wherever it is installed."""

    def begin(self, run: StageRun, known: str | None) -> tuple[str, int | None]:
        """Go on with the run of that name, or begin one with a name that is free."""
        name = known or _free(run.project, run.name)
        self._run = trackio.init(
            project=run.project,
            name=name,
            group=run.group,
            config=dict(run.config),
            resume="allow" if known else "never",
            embed=False,
            auto_log_cpu=False,
        )
        if any(variable in os.environ for variable in ELSEWHERE):
            return name, None
        return name, SQLiteStorage.get_max_step_for_run(run.project, name, run_id=self._run.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add metrics."""
        self._run.log(dict(values), step=step)

    def table(self, step: int, table: Table) -> None:
        """Add a table. The dashboard shows its cells as text."""
        rows = [list(row) for row in table.rows]
        self._run.log({table.name: trackio.Table(list(table.columns), rows)}, step=step)

    def end(self, step: int, summary: Mapping[str, float], complete: bool) -> None:
        """Add the figures of the stage to its last step."""
        if summary:
            self._run.log(dict(summary), step=step)
        trackio.finish()


def _free(project: str, name: str) -> str:
    """The name, with a number where another run of the project has it: trackio finds the run to go
    on with by its name."""
    try:
        taken = {run.name for run in trackio.Api().runs(project)}
    except ValueError:  # there is no such project on this machine yet
        return name
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)
