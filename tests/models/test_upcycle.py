"""From a dense Llama to a mixture of experts: the three starts, what is taken over, what is
refused."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import kl_div
from transformers import LlamaConfig, LlamaForCausalLM

from common.errors import BadInput
from common.stage import StageContext
from models import expert_init
from models.checkpoint import load_policy, load_tokenizer
from models.config import ModelConfig
from models.expert_init import Mlp, expert_size, moe_tensors
from models.nano import nano_tokenizer
from models.packaged import resolve_dense
from models.upcycle import gap, load_dense, upcycle
from stages.base.config import BaseStage
from stages.base.run import PROBE, run

TOKENIZER = nano_tokenizer()
ROPES = {
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


def small(**changed):
    settings = {
        "vocab_size": 120,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    return LlamaConfig(**{**settings, **changed})


def llama(**changed):
    torch.manual_seed(5)
    return LlamaForCausalLM(small(**changed)).eval()


def token_ids(rows=3, length=33):
    return torch.randint(0, 120, (rows, length), generator=torch.Generator().manual_seed(1))


def largest_difference(one, other):
    with torch.no_grad():
        return (
            (one(input_ids=token_ids()).logits - other(input_ids=token_ids()).logits)
            .abs()
            .max()
            .item()
        )


@pytest.fixture
def folder(tmp_path):
    """A dense checkpoint with a tokenizer."""
    llama().save_pretrained(tmp_path / "dense")
    TOKENIZER.save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


def edit_config(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


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
def test_silent_keeps_the_logits_of_any_llama(changed):
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


@pytest.mark.parametrize("start", ["silent", "noise", "split"])
def test_every_expert_and_the_router_learn(start):
    moe = upcycle(llama(), experts=3, moe_every=2, seed=0, experts_per_token=2, start=start)
    moe(input_ids=token_ids(), labels=token_ids()).loss.backward()
    for layer in (1, 3):
        block = moe.model.layers[layer].feed_forward
        assert all(expert.norm() > 0 for expert in block.experts.down_proj.grad)
        if start != "silent":
            assert (
                block.router.weight.grad.norm() > 0 and block.experts.gate_up_proj.grad.norm() > 0
            )


@pytest.mark.parametrize(("experts", "per_token"), [(3, 1), (3, 2), (4, 4)])
def test_without_noise_and_with_even_scores_noisy_copies_carry_the_function(
    monkeypatch, experts, per_token
):
    monkeypatch.setattr(expert_init, "NOISE", 0.0)
    monkeypatch.setitem(expert_init.ROUTER_STD, "noise", 0.0)
    dense = llama()
    moe = upcycle(
        dense, experts=experts, moe_every=2, seed=0, experts_per_token=per_token, start="noise"
    )
    assert largest_difference(dense, moe) < 1e-4
    with torch.no_grad():
        moe.model.layers[1].feed_forward.experts.down_proj.zero_()
    assert largest_difference(dense, moe) > 0.1  # they do carry a part


def test_noise_has_the_size_that_it_says_and_differs_between_experts():
    dense = llama()
    moe = upcycle(dense, experts=3, moe_every=2, seed=0, start="noise")
    down = dense.model.layers[1].mlp.down_proj.weight.T
    noise = moe.model.layers[1].feed_forward.experts.down_proj / 0.5 - down
    assert (noise.norm() / 3**0.5 / down.norm()).item() == pytest.approx(expert_init.NOISE, rel=0.1)
    assert (noise[0] - noise[1]).abs().mean() > noise[0].abs().mean()


def test_split_with_every_expert_chosen_is_the_whole_mlp(monkeypatch):
    monkeypatch.setitem(expert_init.ROUTER_STD, "split", 0.0)
    dense = llama()
    moe = upcycle(dense, experts=4, moe_every=2, seed=0, experts_per_token=4, start="split")
    assert (moe.config.intermediate_size, moe.config.intermediate_size_mlp) == (16, 80)
    assert moe.model.layers[1].feed_forward.experts.down_proj.shape == (4, 16, 48)
    assert largest_difference(dense, moe) < 1e-4


@pytest.mark.parametrize("per_token", [1, 3])
def test_split_is_right_in_expectation_over_uniform_routing(per_token):
    linear = llama().model.layers[0].mlp
    mlp = Mlp(linear.gate_proj.weight, linear.up_proj.weight, linear.down_proj.weight)
    parts = moe_tensors("split", mlp, 4, per_token, torch.Generator().manual_seed(0))
    inputs = torch.randn(7, 48)

    def gated(gate, up, down, x):
        return (torch.nn.functional.silu(x @ gate) * (x @ up)) @ down

    shared = gated(
        *(parts[f"shared_expert.{name}_proj.weight"].T for name in ("gate", "up", "down")), inputs
    )
    gate, up = parts["experts.gate_up_proj"].chunk(2, dim=-1)
    # Each expert is one of the chosen with probability per_token / 4, and sees its input at the
    # score 1/2.
    routed = (
        sum(gated(gate[e], up[e], parts["experts.down_proj"][e], inputs / 2) for e in range(4))
        * per_token
        / 4
    )
    torch.testing.assert_close(shared + routed, linear(inputs), rtol=0, atol=1e-5)


def test_a_split_that_does_not_come_out_even_names_counts_that_do():
    with pytest.raises(BadInput, match="1536 neurons does not divide into 5 equal parts") as caught:
        expert_size("split", 1536, 4)
    assert caught.value.remedy == "use experts: 2 or 3 or 5"
    assert [expert_size("split", 1536, count) for count in (2, 3, 5)] == [512, 384, 256]
    assert expert_size("noise", 1536, 4) == expert_size("silent", 1536, 4) == 1536
    with pytest.raises(BadInput, match="7 equal parts"):
        upcycle(llama(), experts=6, moe_every=2, seed=0, start="split")


@pytest.mark.parametrize("start", ["silent", "noise", "split"])
def test_the_seed_alone_decides(start):
    dense = llama()
    before = torch.get_rng_state()
    one, same, other = (
        upcycle(dense, experts=3, moe_every=2, seed=seed, start=start) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    router = "model.layers.1.feed_forward.router.weight"
    assert not torch.equal(one.get_parameter(router), other.get_parameter(router))


def test_the_gap_is_the_mean_divergence_per_token():
    dense, other = llama(), llama(rope_parameters={"rope_type": "default", "rope_theta": 100.0})
    texts = [token_ids(1, 9), token_ids(1, 30)]
    logs = [
        torch.cat([m(input_ids=ids).logits[0] for ids in texts]).log_softmax(-1)
        for m in (other, dense)
    ]
    by_torch = kl_div(*logs, log_target=True, reduction="batchmean").item()
    assert gap(dense, other, texts) == pytest.approx(by_torch, rel=1e-4) and by_torch > 0.01
    gaps = {
        start: gap(dense, upcycle(dense, experts=3, moe_every=2, seed=0, start=start), texts)
        for start in ("silent", "noise", "split")
    }
    assert 0 <= gaps["silent"] < 1e-9 < gaps["noise"] < 0.1 < gaps["split"]


def test_smollm2_is_itself_when_silent_and_nearly_so_with_noise():
    folder = resolve_dense("smollm2-135m-instruct")
    dense, tokenizer = load_dense(folder), load_tokenizer(folder)
    texts = [tokenizer(text, return_tensors="pt").input_ids for text in PROBE]
    moe = upcycle(dense, experts=4, moe_every=3, seed=0)
    with torch.no_grad():
        expected, found = (model(input_ids=texts[0]).logits for model in (dense, moe))
    assert (expected - found).abs().max() < 1e-3 and expected.std() > 1
    assert gap(dense, moe, texts) < 1e-9
    assert (
        1e-4
        < gap(dense, upcycle(dense, experts=4, moe_every=3, seed=0, start="noise"), texts)
        < 0.02
    )


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
    assert largest_difference(exact, moe) < 1e-4  # the rotary frequencies too, which are in no file


def test_what_ends_an_answer_is_taken_over(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 7]}))
    assert upcycle(
        load_dense(folder), experts=3, moe_every=2, seed=0
    ).generation_config.eos_token_id == [1, 7]


def base_stage(folder, out, **model):
    context = StageContext(
        folder=out, seed=3, progress=lambda *a, **k: None, stop_requested=lambda: False, threads=1
    )
    return run(BaseStage(model=ModelConfig(upcycle=str(folder), **model)), {}, context)


def test_the_base_stage_records_how_much_of_the_function_is_kept(folder, tmp_path):
    metrics = base_stage(
        folder, tmp_path / "split", experts=4, experts_per_token=2, start="split", moe_every=2
    ).metrics
    assert (
        metrics["upcycle_gap_nats"] > 0.01 and metrics["active_parameters"] < metrics["parameters"]
    )
    config = load_policy(tmp_path / "split" / "checkpoint").config
    assert (config.num_local_experts, config.num_experts_per_tok, config.intermediate_size) == (
        4,
        2,
        16,
    )
    assert 0 <= base_stage(folder, tmp_path / "silent").metrics["upcycle_gap_nats"] < 1e-9


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(folder, tmp_path):
    llama(vocab_size=50).save_pretrained(folder)
    with pytest.raises(BadInput, match=r"tokenizer has \d+ tokens, the model embeddings for 50"):
        base_stage(folder, tmp_path / "base")
