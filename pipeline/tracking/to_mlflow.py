"""MLflow: one experiment per recipe, at the place that `MLFLOW_TRACKING_URI` names. Written against
the documented interface of its client and never run with a server."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from pipeline.tracking.interface import StageRun, Table

BATCH = 100
"""Metrics or parameters in a call; MLflow takes no more parameters."""
LONGEST = 500
"""Characters of a parameter: the shortest limit of MLflow's stores."""
EVERY_LINE = "loss"
"""A figure that every line of a training stage's log has."""


class MlflowTracker:
    """Logs to MLflow."""

    rewrites: ClassVar[bool] = False
    prefix: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self._client: Any = MlflowClient()
        self._id = ""

    def check(self) -> None:
        """Whether its server answers is only known once it is asked."""

    def begin(self, run: StageRun, known: str | None) -> tuple[str, int | None]:
        """Go on with the run of that id, or begin one."""
        if known:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            points = self._client.get_metric_history(known, EVERY_LINE)
            return known, max((point.step for point in points), default=None)
        experiment = self._client.get_experiment_by_name(run.project)
        place = (
            experiment.experiment_id if experiment else self._client.create_experiment(run.project)
        )
        tags = {"uphill.run": run.group, "uphill.kind": run.kind, "uphill.id": run.id}
        self._id = self._client.create_run(place, tags=tags, run_name=run.name).info.run_id
        params = [Param(_key(k), v[:LONGEST]) for k, v in flat(run.config).items()]
        for begin in range(0, len(params), BATCH):
            self._client.log_batch(self._id, params=params[begin : begin + BATCH])
        return self._id, None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add metrics."""
        now = round(1000 * time.time())
        metrics = [Metric(_key(name), value, now, step) for name, value in values.items()]
        for begin in range(0, len(metrics), BATCH):
            self._client.log_batch(self._id, metrics=metrics[begin : begin + BATCH])

    def table(self, step: int, table: Table) -> None:
        """Add a table as an artifact."""
        columns = {
            name: [row[number] for row in table.rows] for number, name in enumerate(table.columns)
        }
        self._client.log_table(self._id, data=columns, artifact_file=f"{table.name}.json")

    def end(self, step: int, summary: Mapping[str, float], complete: bool) -> None:
        """Add the figures of the stage to its last step."""
        self.log(step, summary)
        self._client.set_terminated(self._id, status="FINISHED" if complete else "KILLED")


def flat(config: Any, name: str = "") -> dict[str, str]:
    """The values of a config as JSON, by their dotted names."""
    if not isinstance(config, Mapping):
        return {name: json.dumps(config, ensure_ascii=False)}
    parts = [flat(value, f"{name}.{key}".strip(".")) for key, value in config.items()]
    return {key: value for part in parts for key, value in part.items()}


def _key(name: str) -> str:
    """A name that every version of MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:250]
