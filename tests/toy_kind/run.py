"""Scale every weight of a checkpoint."""

import shutil

from safetensors.torch import load_file, save_file

from common.artifacts import CHECKPOINT
from common.stage import Inputs, Outputs, StageContext
from toy_kind.config import ScaleStage


def run(config: ScaleStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`."""
    source, target = CHECKPOINT.path(inputs["teacher"]), CHECKPOINT.path(context.folder)
    shutil.copytree(source, target)
    weights = {
        name: tensor * config.factor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return Outputs(metrics={"rows_per_forward": context.execution.rows_per_forward})
