"""A fake of the part of MLflow that uphill uses, with the signatures of mlflow 3.17's client."""

import os
from pathlib import Path
from types import SimpleNamespace

from fake_trackers.calls import CALLS, FAULT, called, calls
from mlflow.entities import Metric

if os.environ.get(FAULT) == "import":
    raise ModuleNotFoundError("No module named 'sqlparse'")


class MlflowClient:
    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location=None, tags=None):
        called("create_experiment", name)
        return "7"

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        called("create_run", experiment_id, run_name, tags)
        return SimpleNamespace(info=SimpleNamespace(run_id=f"id of {run_name}"))

    def update_run(self, run_id, status=None, name=None):
        called("update_run", run_id, status)

    def get_metric_history(self, run_id, key):
        batches = calls(Path(os.environ[CALLS]), "log_batch")
        points = [Metric(*one) for id, metrics, _ in batches if id == run_id for one in metrics]
        return [point for point in points if point.key == key]

    def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
        called("log_batch", run_id, metrics, params)

    def log_table(self, run_id, data, artifact_file):
        called("log_table", run_id, data, artifact_file)

    def set_terminated(self, run_id, status=None, end_time=None):
        called("set_terminated", run_id, status)
