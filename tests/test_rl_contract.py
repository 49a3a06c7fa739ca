"""What the RL trainer relies on in TRL's private methods: when this fails, read stages/rl/trainer.py against TRL's."""

import inspect
from importlib.metadata import version

import pytest
from trl import GRPOConfig, GRPOTrainer


def parameters(name):
    return list(inspect.signature(getattr(GRPOTrainer, name)).parameters)


def source(name):
    return inspect.getsource(getattr(GRPOTrainer, name))


def test_the_version_is_the_one_that_was_read():
    assert version("trl").startswith("1.16."), "read the private methods again, then change this line"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("get_train_dataloader", ["self"]),
    ],
)
def test_overridden_methods_have_the_known_parameters(name, expected):
    assert parameters(name) == expected


def test_logprobs_come_from_one_hook_and_are_three_values():
    known = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"]
    assert parameters("_get_per_token_logps_and_entropies")[:7] == known
    assert "return logps, entropies, aux_loss" in source("_get_per_token_logps_and_entropies")
    assert "per_token_logps, entropies, aux_loss = self._get_per_token_logps_and_entropies(" in source("_compute_loss")


def test_the_loss_reads_the_batch_that_is_made_here():
    text = source("_compute_loss")
    for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch"):
        assert f'inputs["{name}"]' in text, name
    # Without them the rollouts are taken as those of the very policy that is trained, which they are.
    assert 'inputs.get("old_per_token_logps")' in text


def test_the_kl_term_and_top_p_are_read_where_we_put_them():
    text = source("_compute_loss")
    assert 'ref_per_token_logps = inputs["ref_per_token_logps"]' in text and "per_token_kl * coef_1" in text
    assert "per_token_loss + self.beta * per_token_kl" in text and "if self.beta != 0.0" in text
    lines = {line.strip() for line in source("__init__").splitlines()}
    assert {"self.beta = args.beta", "self.top_p = args.top_p"} <= lines


def test_batches_are_buffered_and_counted_where_we_do_it():
    text = source("_prepare_inputs")
    assert "self._step % generate_every == 0 or self._buffered_inputs is None" in text
    assert "self._buffered_inputs[self._step % self.args.steps_per_generation]" in text
    assert "self._step += 1" in source("training_step")
    lines = {line.strip() for line in source("__init__").splitlines()}
    assert {"self._buffered_inputs = None", "self._step = 0"} <= lines


def test_metrics_are_lists_by_mode_and_name():
    assert 'self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}' in source("__init__")
    assert "for key, val in self._metrics[mode].items()" in source("log")


def test_a_step_on_its_own_rollouts_needs_one_forward_pass_a_batch():
    config = GRPOConfig(output_dir="unused", report_to=[], use_cpu=True, per_device_train_batch_size=4,
                        gradient_accumulation_steps=2, num_generations=4)  # fmt: skip
    assert (config.steps_per_generation, config.num_iterations, config.generation_batch_size) == (2, 1, 8)
    assert not config.use_vllm and config.temperature == 1.0
