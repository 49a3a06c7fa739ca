"""The learning rate follows its schedule, warm-up and all, also after a resume; weight decay
decays."""

import math

import pytest
import torch

from builders.contexts import stage_context
from builders.single_prompts import prompt_of
from common.errors import Interrupted
from common.files import read_json_lines
from models.checkpoint import load_policy, save_policy
from models.nano import nano_model, nano_tokenizer
from prompts.schema import write_prompts
from stages.dpo.config import DpoStage
from stages.rl.config import RlStage
from stages.sft import run as sft
from stages.sft.config import SftStage
from training.resume import go_on

PEAK, STEPS = 1e-3, 8
SFT = {"id": "sft", "kind": "sft", "on": "prompts", "learning_rate": PEAK}
DPO = {"id": "dpo", "kind": "dpo", "from": "sft", "pairs": "rl", "learning_rate": PEAK}
RL = {"id": "rl", "kind": "rl", "from": "sft", "on": "filter", "steps": 10, "learning_rate": PEAK}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    tokenizer = nano_tokenizer()
    save_policy(nano_model(tokenizer, seed=0), tokenizer, folder / "checkpoint")
    prompts = [prompt_of(str(n), f"{n} =", str(n), capability="w") for n in range(STEPS)]
    write_prompts(folder / "prompts.parquet", prompts)
    return {"checkpoint": folder, "prompts": folder}


def trained(inputs, folder, stop_at=None, notes=None, **settings):
    """The metrics of an SFT of eight steps of one row; stopped after `stop_at` of them, where that
    is given."""
    folder.mkdir(exist_ok=True)
    seen = []

    def progress(step, *_, **__):
        seen.append(step)

    notes = [] if notes is None else notes
    context = stage_context(
        folder, progress=progress, stop_requested=lambda: stop_at in seen, note=notes.append
    )
    config = SftStage.model_validate({**SFT, "train": "full", "batch_size": 1, **settings})
    sft.run(config, inputs, context)
    return read_json_lines(folder / "metrics.jsonl")


def expected(schedule, warmup, step, steps=STEPS):
    """The learning rate of optimiser step `step`, from 1."""
    done = step - 1
    if done < warmup:
        return PEAK * done / warmup
    share = (done - warmup) / (steps - warmup)
    return (
        PEAK
        * {"constant": 1, "linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[
            schedule
        ]
    )


@pytest.mark.parametrize(("schedule", "warmup"), [("constant", 3), ("linear", 0), ("cosine", 2)])
def test_the_learning_rate_follows_its_schedule_and_a_stopped_stage_goes_on_in_it(
    inputs, tmp_path, schedule, warmup
):
    settings = {"schedule": schedule, "warmup_steps": warmup}
    with pytest.raises(Interrupted):
        trained(inputs, tmp_path, stop_at=3, **settings)
    start = go_on(stage_context(tmp_path, progress=print))
    assert start is not None and start.name == "checkpoint-4"
    rows = trained(inputs, tmp_path, **settings)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:
        assert row["learning_rate"] == pytest.approx(
            expected(schedule, warmup, row["step"]), abs=1e-12
        )


def test_left_out_each_kind_does_what_it_did_before_the_settings_were_there(inputs, tmp_path):
    found = [
        kind.model_validate(values)
        for kind, values in ((SftStage, SFT), (RlStage, RL), (DpoStage, DPO))
    ]
    said = [(config.schedule, config.warmup_steps, config.weight_decay) for config in found]
    assert said == [("linear", 2, 0.0), ("constant", 0, 0.0), ("linear", 0, 0.0)]
    rates = [row["learning_rate"] for row in trained(inputs, tmp_path)]
    assert rates == pytest.approx(
        [expected("linear", 2, step) for step in range(1, STEPS + 1)], abs=1e-12
    )


def test_weight_decay_takes_its_share_of_every_weight_but_norms(inputs, tmp_path):
    """After one step from the same gradients the decay is all that differs."""
    settings = {"limit": 1, "schedule": "constant", "warmup_steps": 0}
    trained(inputs, tmp_path / "with", weight_decay=0.5, **settings)
    trained(inputs, tmp_path / "without", **settings)
    folders = inputs["checkpoint"], tmp_path / "with", tmp_path / "without"
    start, decayed, kept = (load_policy(folder / "checkpoint").state_dict() for folder in folders)
    for name, weight in start.items():
        taken = torch.zeros_like(weight) if "norm" in name else PEAK * 0.5 * weight
        torch.testing.assert_close(kept[name] - decayed[name], taken, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values", "most"),
    [
        (RlStage, {**RL, "warmup_steps": 10}, 10),
        (DpoStage, {**DPO, "max_pairs": 40, "batch_size": 16, "warmup_steps": 3}, 3),
        (SftStage, {**SFT, "limit": 40, "batch_size": 16, "epochs": 1.5, "warmup_steps": 5}, 5),
    ],
)
def test_a_warm_up_without_an_end_is_refused_where_the_steps_are_known(kind, values, most):
    with pytest.raises(
        ValueError, match=rf"at most {most} optimiser steps.*allowed here are 0 to {most - 1}"
    ):
        kind.model_validate(values)
    kind.model_validate({**values, "warmup_steps": most - 1})


def test_a_warm_up_that_outlasts_the_data_is_told(inputs, tmp_path):
    notes: list[str] = []
    trained(inputs, tmp_path, notes=notes, warmup_steps=STEPS)
    assert (
        notes and f"warmup_steps is {STEPS} and the stage has {STEPS} optimiser steps" in notes[0]
    )
    SftStage.model_validate({**SFT, "limit": 1})  # the default is no one's choice


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "step"},
        {"warmup_steps": -1},
        {"warmup_steps": 0.1},
        {"weight_decay": -0.1},
        {"weight_decay": 1.5},
        {"weight_decay": float("nan")},
    ],
)
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SftStage.model_validate({**SFT, **wrong})
