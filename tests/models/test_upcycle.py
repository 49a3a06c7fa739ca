"""From a dense Llama to a mixture of experts: kept logits and settings, the logit gap, refusals."""

import copy
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import kl_div

from builders.checkpoint_folders import edit_config
from builders.contexts import stage_context
from builders.dense_llamas import largest_difference, llama, token_ids
from common.errors import BadInput
from models.checkpoint import load_policy, load_tokenizer
from models.config import ModelConfig
from models.nano import nano_tokenizer
from models.packaged import resolve_dense
from models.upcycle import load_dense, logit_gap, upcycle
from stages.base.config import BaseStage
from stages.base.run import PROBE, run

TOKENIZER = nano_tokenizer()
ROPES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 4},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
}


@pytest.fixture
def folder(tmp_path):
    """A dense checkpoint with a tokenizer."""
    llama().save_pretrained(tmp_path / "dense")
    TOKENIZER.save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


@pytest.mark.parametrize(
    "changed",
    [
        {"tie_word_embeddings": True},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1},
        {"head_dim": 20},
        {"rms_norm_eps": 1e-2},
        *(
            {"rope_parameters": {"rope_type": kind, "rope_theta": 500.0, **more}}
            for kind, more in ROPES.items()
        ),
    ],
    ids=str,
)
def test_zero_output_keeps_the_logits_of_any_llama(changed):
    dense = llama(**changed)
    moe = upcycle(dense, experts=3, moe_every=2, seed=0).eval()
    assert largest_difference(dense, moe) < 1e-4
    for layer in (1, 3):
        experts = moe.model.layers[layer].feed_forward.experts
        assert not experts.down_proj.any() and experts.gate_up_proj.abs().sum() > 0
    assert (moe.lm_head.weight is moe.model.embed_tokens.weight) == dense.config.tie_word_embeddings


def test_the_rope_type_matters_at_this_length():
    ropes = [{"rope_type": kind, "rope_theta": 500.0, **more} for kind, more in ROPES.items()]
    plain = llama(rope_parameters=ropes[0])
    assert all(largest_difference(plain, llama(rope_parameters=rope)) > 0.1 for rope in ropes[1:])


def test_the_logit_gap_is_the_mean_divergence_per_token():
    dense, other = llama(), llama(rope_parameters={"rope_type": "default", "rope_theta": 100.0})
    texts = [token_ids(1, 9), token_ids(1, 30)]
    logs_other, logs_dense = (
        torch.cat([m(input_ids=ids).logits[0] for ids in texts]).log_softmax(-1)
        for m in (other, dense)
    )
    by_torch = kl_div(logs_other, logs_dense, log_target=True, reduction="batchmean").item()
    assert logit_gap(dense, other, texts) == pytest.approx(by_torch, rel=1e-4) and by_torch > 0.01
    gaps = {
        init: logit_gap(dense, upcycle(dense, experts=3, moe_every=2, seed=0, init=init), texts)
        for init in ("zero_output", "noise", "split")
    }
    assert 0 <= gaps["zero_output"] < 1e-9 < gaps["noise"] < 0.1 < gaps["split"]


def test_smollm2_is_unchanged_with_zero_output_and_nearly_so_with_noise():
    folder = resolve_dense("smollm2-135m-instruct")
    dense, tokenizer = load_dense(folder), load_tokenizer(folder)
    texts = [tokenizer(text, return_tensors="pt").input_ids for text in PROBE]
    moe = upcycle(dense, experts=4, moe_every=3, seed=0)
    with torch.no_grad():
        expected, actual = (model(input_ids=texts[0]).logits for model in (dense, moe))
    assert (expected - actual).abs().max() < 1e-3 and expected.std() > 1
    assert logit_gap(dense, moe, texts) < 1e-9
    noisy = upcycle(dense, experts=4, moe_every=3, seed=0, init="noise")
    assert 1e-4 < logit_gap(dense, noisy, texts) < 0.02


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"pretraining_tp": 2}, "pretraining_tp is 2"),
        ({"sliding_window": 4096}, "sliding_window is 4096"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope type 'dynamic'",
        ),
        (
            {"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "rope type 'dynamic'",
        ),
        ({"head_dim": 11}, "head_dim 11 is odd"),
        ({"hidden_size": 50}, "not a valid LlamaConfig"),
        ({"vocab_size": "many"}, "not a valid LlamaConfig: .*vocab_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_llama_4_cannot_express_is_refused_by_name_before_weights_are_read(
    folder, changed, named
):
    edit_config(folder, **changed)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=named) as caught:
        load_dense(folder)
    assert str(folder) in caught.value.message and caught.value.remedy


def test_a_model_in_memory_is_checked_too():
    with pytest.raises(BadInput, match="mlp_bias"):
        upcycle(llama(mlp_bias=True), experts=3, moe_every=2, seed=0)
    with pytest.raises(BadInput, match="moe_every: 6 leaves no MoE layer in a model of 5"):
        upcycle(llama(), experts=3, moe_every=6, seed=0)


def test_older_ways_to_write_a_llama_give_the_same_logits(folder):
    dense, tensors = load_dense(folder), load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(6)
    save_file(tensors, folder / "model.safetensors")
    rope = {"rope_parameters": None, "rope_theta": 10_000.0, "rope_scaling": None}
    edit_config(folder, **rope, torch_dtype="float16", head_dim=None)
    assert largest_difference(dense, load_dense(folder)) == 0


def test_shards_in_bfloat16_become_float32_everywhere(folder):
    exact = llama(tie_word_embeddings=True)
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.copy_(parameter.bfloat16())
    (folder / "model.safetensors").unlink()
    copy.deepcopy(exact).bfloat16().save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    moe = upcycle(load_dense(folder), experts=3, moe_every=2, seed=0)
    assert {tensor.dtype for tensor in (*moe.parameters(), *moe.buffers())} == {torch.float32}
    assert (
        largest_difference(exact, moe) < 1e-4
    )  # the rotary frequencies too, which no file contains


def test_end_tokens_are_kept(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 7]}))
    moe = upcycle(load_dense(folder), experts=3, moe_every=2, seed=0)
    assert moe.generation_config.eos_token_id == [1, 7]


def base_stage(folder, out, **model):
    stage = BaseStage(model=ModelConfig(upcycle=str(folder), **model))
    return run(stage, {}, stage_context(out, 3))


def test_the_base_stage_records_the_logit_gap(folder, tmp_path):
    metrics = base_stage(
        folder, tmp_path / "split", experts=4, experts_per_token=2, init="split", moe_every=2
    ).metrics
    assert metrics["upcycle_gap_nats"] > 0.01
    assert metrics["active_parameters"] < metrics["parameters"]
    config = load_policy(tmp_path / "split" / "checkpoint").config
    assert (config.num_local_experts, config.num_experts_per_tok) == (4, 2)
    assert config.intermediate_size == 16
    assert 0 <= base_stage(folder, tmp_path / "zero_output").metrics["upcycle_gap_nats"] < 1e-9


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(folder, tmp_path):
    llama(vocab_size=50).save_pretrained(folder)
    with pytest.raises(BadInput, match=r"tokenizer has \d+ tokens, the model embeddings for 50"):
        base_stage(folder, tmp_path / "base")
