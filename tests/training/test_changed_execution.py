"""An unfinished stage goes on from its last checkpoint under other execution settings, to the same
weights but for rounding."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from builders.contexts import stage_context
from builders.single_prompts import prompt_of
from common.errors import Interrupted
from common.execution import ExecutionConfig
from common.files import read_json_lines
from prompts.schema import write_prompts
from stages.base.config import BaseStage
from stages.base.run import run as make_base
from stages.sft.config import SftStage
from stages.sft.run import run as sft

STEPS = 8
STAGE = SftStage.model_validate(
    {
        "id": "sft",
        "kind": "sft",
        "on": "prompts",
        "train": "full",
        "batch_size": 8,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
    }
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A nano checkpoint, and as many prompts as the stage has steps."""
    folder = tmp_path_factory.mktemp("inputs")
    context = stage_context(folder)
    make_base(BaseStage.model_validate({"model": {"preset": "nano"}}), {}, context)
    prompts = [prompt_of(str(n), f"say {n}", str(n)) for n in range(STEPS * STAGE.batch_size)]
    write_prompts(folder / "prompts.parquet", prompts)
    return {"checkpoint": folder, "prompts": folder}


def train(folder, inputs, stop_after=None, **settings: Any):
    """Run the stage, to its end or until it has done so many steps; its logged steps."""
    folder.mkdir(exist_ok=True)
    done = 0

    def progress(step, total, **_):
        nonlocal done
        done = step

    context = stage_context(
        folder,
        progress=progress,
        stop_requested=lambda: stop_after is not None and done >= stop_after,
        execution=ExecutionConfig(**settings),
    )
    if stop_after is None:
        sft(STAGE, inputs, context)
    else:
        with pytest.raises(Interrupted):
            sft(STAGE, inputs, context)
    return read_json_lines(folder / "metrics.jsonl")


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


def test_lower_memory_settings_go_on_from_the_last_checkpoint(tmp_path, inputs):
    whole = train(tmp_path / "whole", inputs)
    begun = train(tmp_path / "parts", inputs, stop_after=3, save_every=2)
    rest = train(
        tmp_path / "parts",
        inputs,
        rows_per_forward=3,
        gradient_checkpointing=True,
        save_every=5,
    )
    assert [row["step"] for row in rest] == [row["step"] for row in whole]
    assert rest[: len(begun)] == begun and 3 <= len(begun) < STEPS  # not one step was made again
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-5)
    saved = sorted(path.name for path in (tmp_path / "parts" / "resume").glob("checkpoint-*"))
    assert saved == ["checkpoint-5", f"checkpoint-{STEPS}"]  # every 5 steps, as it says now
