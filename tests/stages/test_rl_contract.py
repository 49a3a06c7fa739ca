"""What the RL trainer relies on in TRL's private methods: when this fails, read
stages/rl/trainer.py against TRL's."""

import inspect
from importlib.metadata import version

import pytest
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer


def parameters(name):
    return list(inspect.signature(getattr(GRPOTrainer, name)).parameters)


def source(name):
    return inspect.getsource(getattr(GRPOTrainer, name))


def test_the_version_is_the_one_that_was_read():
    assert version("trl").startswith("1.16."), (
        "read the private methods again, then change this line"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("get_train_dataloader", ["self"]),
        ("training_step", ["self", "model", "inputs", "num_items_in_batch"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
    ],
)
def test_overridden_methods_have_the_known_parameters(name, expected):
    assert parameters(name) == expected


def test_logprobs_come_from_one_hook_and_are_three_values():
    known = [
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
    ]
    assert parameters("_get_per_token_logps_and_entropies")[:7] == known
    assert "return logps, entropies, aux_loss" in source("_get_per_token_logps_and_entropies")
    assert (
        "per_token_logps, entropies, aux_loss = self._get_per_token_logps_and_entropies("
        in source("_compute_loss")
    )


def test_the_loss_reads_the_batch_that_is_made_here():
    text = source("_compute_loss")
    for name in (
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "advantages",
        "num_items_in_batch",
    ):
        assert f'inputs["{name}"]' in text, name
    # Without them the rollouts are taken as those of the very policy that is trained, which they
    # are.
    assert 'inputs.get("old_per_token_logps")' in text


def test_the_kl_term_and_top_p_are_read_where_we_put_them():
    text = source("_compute_loss")
    assert (
        'ref_per_token_logps = inputs["ref_per_token_logps"]' in text
        and "per_token_kl * coef_1" in text
    )
    assert "per_token_loss + self.beta * per_token_kl" in text and "if self.beta != 0.0" in text
    lines = {line.strip() for line in source("__init__").splitlines()}
    assert {"self.beta = args.beta", "self.top_p = args.top_p"} <= lines


def test_a_pass_enters_where_we_hand_it_over_and_its_loss_is_divided_there_alone():
    text = inspect.getsource(Trainer.training_step)
    assert (
        "inputs = self._prepare_inputs(inputs)" in text
        and "self.accelerator.backward(loss, **kwargs)" in text
    )
    assert GRPOTrainer.loss_is_scaled_for_ga
    normaliser = (
        "normalizer * self.current_gradient_accumulation_steps / self.args.steps_per_generation"
    )
    assert normaliser in source("_compute_loss")
    assert "self._step" not in source("_compute_loss")


def test_metrics_are_lists_by_mode_and_name():
    assert 'self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}' in source(
        "__init__"
    )
    assert "for key, val in self._metrics[mode].items()" in source("log")


def test_a_step_on_its_own_rollouts_needs_one_forward_pass():
    config = GRPOConfig(
        output_dir="unused",
        report_to=[],
        use_cpu=True,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        num_generations=4,
    )
    assert (config.steps_per_generation, config.num_iterations, config.generation_batch_size) == (
        1,
        1,
        8,
    )
    assert not config.use_vllm and config.temperature == 1.0
