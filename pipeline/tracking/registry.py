"""The trackers by name, and whether they are installed. Loads none of their libraries."""

from importlib import import_module, util
from pathlib import Path

from common.errors import BadInput
from pipeline.tracking.interface import Tracker

TRACKERS = {
    "trackio": "pipeline.tracking.to_trackio:TrackioTracker",
    "wandb": "pipeline.tracking.to_wandb:WandbTracker",
    "tensorboard": "pipeline.tracking.to_tensorboard:TensorBoardTracker",
    "mlflow": "pipeline.tracking.to_mlflow:MlflowTracker",
}
"""Name, which is also that of the tracker's package, to the place of its class."""


def require_installed(name: str) -> None:
    """BadInput where a tracker's package is missing."""
    if util.find_spec(name) is None:
        raise BadInput(
            f"runtime.report_to: {name} is not installed",
            f"install it (`pip install {name}`), or leave it out of runtime.report_to",
        )


def open_tracker(name: str, folder: Path) -> Tracker:
    """The tracker of that name, its library loaded."""
    module, _, kind = TRACKERS[name].partition(":")
    tracker: Tracker = getattr(import_module(module), kind)(folder)
    return tracker
