"""W&B. Offline with `WANDB_MODE=offline`: files below `tracking/wandb`, which `wandb sync` sends
later. Written against the documented interface and run offline, never with W&B's server."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import wandb

from pipeline.tracking.interface import StageRun, Table, Unusable


class WandbTracker:
    """Logs to W&B."""

    rewrites: ClassVar[bool] = False
    prefix: ClassVar[str] = "train/"

    def __init__(self, folder: Path) -> None:
        self.folder = os.environ.get("WANDB_DIR", str(folder))
        self._run: Any = None

    def check(self) -> None:
        """Unusable where nobody is logged in. No network is asked."""
        try:
            wandb.login(verify=False)
        except wandb.errors.UsageError as error:
            raise Unusable(
                f"wandb: {error}", "run `wandb login`, or set WANDB_MODE=offline"
            ) from None

    def begin(self, run: StageRun, known: str | None) -> tuple[str, int | None]:
        """Go on with the run of that id, or begin one."""
        id = known or run.id
        self._run = wandb.init(
            project=run.project,
            id=id,
            name=run.name,
            group=run.group,
            job_type=run.kind,
            config=dict(run.config),
            resume="allow",
            dir=self.folder,
            settings=wandb.Settings(console="off"),
        )
        return id, None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add metrics."""
        self._run.log(dict(values), step=step)

    def table(self, step: int, table: Table) -> None:
        """Add a table."""
        rows = [list(row) for row in table.rows]
        content = wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)
        self._run.log({table.name: content}, step=step)

    def end(self, step: int, summary: Mapping[str, float], complete: bool) -> None:
        """Put the figures of the stage into the run's summary."""
        self._run.summary.update(dict(summary))
        self._run.finish()
