"""What the RL trainer relies on in transformers' `Trainer`: when this fails, read
stages/rl/trainer.py against it."""

import dataclasses
import inspect
from importlib.metadata import version
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from builders.rl_trainer import rl_trainer
from common.errors import RunFailed
from common.execution import ExecutionConfig
from models.nano import nano_model, nano_tokenizer
from stages.rl.collector import StepBatch
from stages.rl.trainer import RlTrainer


def parameters(name):
    return list(inspect.signature(getattr(Trainer, name)).parameters)


def source(name):
    return inspect.getsource(getattr(Trainer, name))


def test_the_version_is_the_one_that_was_read():
    assert version("transformers").startswith("5.17."), "read Trainer again, then change this line"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_train_dataloader", ["self"]),
        ("training_step", ["self", "model", "inputs", "num_items_in_batch"]),
        (
            "compute_loss",
            ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
        ),
        ("log", ["self", "logs", "start_time"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
    ],
)
def test_the_methods_that_we_override_or_call_have_the_known_parameters(name, expected):
    assert parameters(name) == expected


def test_no_private_method_is_overridden():
    ours = {name for name in vars(RlTrainer) if name.startswith("_") and not name.startswith("__")}
    assert not {name for name in ours if hasattr(Trainer, name)}


def test_a_training_step_moves_the_batch_computes_the_loss_and_goes_backward():
    text = source("training_step")
    calls = (
        "inputs = self._prepare_inputs(inputs)",
        "self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)",
        "self.accelerator.backward(loss, **kwargs)",
        "return loss.detach()",
    )
    places = [text.index(call) for call in calls]
    assert places == sorted(places)


def test_the_loss_of_a_pass_is_scaled_by_accumulation_alone_which_stays_at_one(tmp_path):
    assert "loss = loss / self.current_gradient_accumulation_steps" in source("training_step")
    trainer = rl_trainer(nano_model(nano_tokenizer(), seed=0), tmp_path)
    assert trainer.args.gradient_accumulation_steps == 1


def test_nested_tensors_of_a_batch_are_moved(tmp_path):
    trainer = rl_trainer(nano_model(nano_tokenizer(), seed=0), tmp_path)
    moved = trainer._prepare_inputs({"packed": {"ids": torch.ones(2)}, "mask": torch.ones(1)})
    assert moved["packed"]["ids"].device == trainer.args.device


def test_the_arguments_are_those_of_trls_config_where_the_defaults_differ(tmp_path):
    """SFT and DPO train with TRL's configs. What the two kinds of arguments differ in is given, or
    is about the data that RL does not have."""
    plain, of_trl = (
        {f.name: f.default for f in dataclasses.fields(kind)}
        for kind in (TrainingArguments, GRPOConfig)
    )
    differing = {name for name in plain if plain[name] != of_trl[name]}
    about_data = {"remove_unused_columns"}
    given = rl_trainer(nano_model(nano_tokenizer(), seed=0), tmp_path).args
    assert differing - about_data == {
        "learning_rate",
        "bf16",
        "gradient_checkpointing",
        "logging_steps",
    }
    assert (given.learning_rate, given.bf16, given.gradient_checkpointing) == (1e-4, False, False)
    assert given.logging_steps == 1


def test_several_gpus_in_one_process_are_refused_as_trainer_would_replicate_the_policy(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(RunFailed, match="2 GPUs are visible to the one process that trains"):
        rl_trainer(nano_model(nano_tokenizer(), seed=0), tmp_path)


def test_optimiser_and_schedule_are_trainers_own_in_trl_too():
    for name in ("create_optimizer", "create_scheduler", "get_decay_parameter_names"):
        assert getattr(GRPOTrainer, name) is getattr(Trainer, name)


def test_a_run_logs_each_step_once_with_its_figures_and_saves_at_the_end(tmp_path):
    policy = nano_model(nano_tokenizer(), seed=0)
    trainer = rl_trainer(
        policy,
        tmp_path,
        StepBatch(),
        steps=3,
        train="full",
        execution=ExecutionConfig(save_every=2),
    )
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all({"parity/probe_gap", "reward", "step_time", "grad_norm"} <= set(row) for row in rows)
    assert trainer.leader is not None
    recorder: Any = trainer.leader.recorder
    assert recorder.collected == [0, 1, 2]
    saved = {path.name for path in (tmp_path / "resume").glob("checkpoint-*")}
    assert saved == {"checkpoint-2", "checkpoint-3"}
    assert not trainer.metrics.take()
