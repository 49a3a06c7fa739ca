"""The model definition against transformers' own, upcycling, adapters, checkpoints."""

import json
import string
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Llama4ForCausalLM, Llama4TextConfig, LlamaConfig, LlamaForCausalLM

from common.errors import BadInput
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.moe import MoeForCausalLM, SparseMoe
from models.nano import nano_model, nano_tokenizer
from models.packaged import resolve_dense
from models.upcycle import load_dense, upcycle

TOKENIZER = nano_tokenizer()
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4 ="}]
ALL = ("attention", "mlp", "shared_expert", "routed_experts")
TEXTS = [
    "The capital of France is Paris, and",
    "def add(a, b):\n    return a + b\n",
    "12 apples and 30 pears are 42 fruits.",
]


@pytest.fixture
def nano(tmp_path):
    """A nano checkpoint folder."""
    save_policy(nano_model(TOKENIZER, seed=3), TOKENIZER, tmp_path / "nano")
    return tmp_path / "nano"


def small_config(experts, top_k):
    return Llama4TextConfig(
        vocab_size=40, hidden_size=32, intermediate_size=24, intermediate_size_mlp=48, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64, attention_chunk_size=64,
        interleave_moe_layer_step=2, num_local_experts=experts, num_experts_per_tok=top_k, initializer_range=0.3,
        pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip


def relative(one, other):
    return ((one - other).norm() / other.norm().clamp(min=1e-12)).item()


def perturb(model, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def test_nano_is_small_and_depends_on_its_seed_alone():
    one, other = nano_model(TOKENIZER, 1), nano_model(TOKENIZER, 1)
    assert 1_000_000 < sum(p.numel() for p in one.parameters()) < 3_000_000
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, nano_model(TOKENIZER, 2).lm_head.weight)
    kinds = [layer.is_moe_layer for layer in one.model.layers]
    assert kinds == [False, True, False, True]
    assert all(isinstance(layer.feed_forward, SparseMoe) == layer.is_moe_layer for layer in one.model.layers)


def test_the_tokenizer_gives_back_every_printable_character():
    text = "".join(c for c in string.printable if c.isprintable()) + "  two\nlines"
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    assert TOKENIZER.decode(ids) == text and len(ids) == len(text)
    assert TOKENIZER("é", add_special_tokens=False).input_ids == [TOKENIZER.unk_token_id]


def test_an_answered_chat_begins_with_the_generation_prompt():
    asked = TOKENIZER.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    answered = TOKENIZER.apply_chat_template([*CHAT, {"role": "assistant", "content": "7"}], return_dict=False)
    assert TOKENIZER.decode(asked) == "<|system|>Be brief.<|user|>3 + 4 =<|assistant|>"
    assert answered[: len(asked)] == asked
    assert TOKENIZER.decode(answered[len(asked) :]) == "7<|end|>"


@pytest.mark.parametrize(("tied", "kv_heads"), [(True, 2), (False, 4)])
def test_upcycling_keeps_the_logits_of_a_random_llama(tied, kv_heads):
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=50, hidden_size=48, intermediate_size=80, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=kv_heads, max_position_embeddings=64, initializer_range=0.2, tie_word_embeddings=tied,
    )  # fmt: skip
    dense, ids = LlamaForCausalLM(config).eval(), torch.randint(0, 50, (3, 33))
    moe = upcycle(dense, experts=3, moe_every=2, seed=0).eval()
    with torch.no_grad():
        assert (moe(input_ids=ids).logits - dense(input_ids=ids).logits).abs().max() < 1e-4
        for layer in (1, 3):
            experts = moe.model.layers[layer].feed_forward.experts
            assert not experts.down_proj.any() and experts.gate_up_proj.abs().sum() > 0


def test_upcycled_experts_learn():
    dense = LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=48, intermediate_size=80, num_hidden_layers=2,
                                         num_attention_heads=4, num_key_value_heads=4))  # fmt: skip
    moe = upcycle(dense, experts=3, moe_every=2, seed=0)
    ids = torch.randint(0, 50, (2, 20))
    moe(input_ids=ids, labels=ids).loss.backward()
    assert moe.model.layers[1].feed_forward.experts.down_proj.grad.norm() > 0


def test_upcycling_keeps_the_logits_of_smollm2_on_real_text():
    folder = resolve_dense("smollm2-135m-instruct")
    dense, tokenizer = load_dense(folder).eval(), load_tokenizer(folder)
    moe = upcycle(dense, experts=4, moe_every=3, seed=0).eval()
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            expected, found = dense(input_ids=ids).logits, moe(input_ids=ids).logits
        assert (expected - found).abs().max() < 1e-3
        assert expected.std() > 1


def test_a_checkpoint_loads_in_plain_transformers_without_our_code(nano):
    ids = TOKENIZER.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    code = (
        "import json, sys, torch; from transformers import AutoModelForCausalLM as A\n"
        "m, i = A.from_pretrained(sys.argv[1], dtype=torch.float32, output_loading_info=True)\n"
        "with torch.no_grad(): x = m.eval()(input_ids=torch.tensor([json.loads(sys.argv[2])])).logits[0, -1].tolist()\n"
        "print(json.dumps([type(m).__name__, [sorted(i[k]) for k in ('missing_keys', 'unexpected_keys')], x]))\n"
    )
    command = [sys.executable, "-I", "-c", code, str(nano), json.dumps(ids)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=nano)
    kind, wrong, logits = json.loads(done.stdout.splitlines()[-1])
    assert kind == "Llama4ForCausalLM" and wrong == [[], []]
    with torch.no_grad():
        expected = load_policy(nano).eval()(input_ids=torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(torch.tensor(logits), expected, rtol=0, atol=1e-5)
    assert AutoTokenizer.from_pretrained(nano).apply_chat_template(CHAT, tokenize=False).startswith("<|system|>")


def test_loading_gives_back_what_was_saved(nano):
    saved, loaded = nano_model(TOKENIZER, seed=3).state_dict(), load_policy(nano).state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


EXPERTS = "model.layers.1.feed_forward.experts.down_proj"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop(EXPERTS), EXPERTS),
        (lambda tensors: tensors.update({EXPERTS: tensors[EXPERTS][:2].contiguous()}), EXPERTS),
        (lambda tensors: tensors.update({"model.extra": tensors[EXPERTS].clone()}), "model.extra"),
    ],
    ids=["missing", "another shape", "unexpected"],
)
def test_a_wrong_tensor_is_named(nano, change, named):
    tensors = load_file(nano / "model.safetensors")
    change(tensors)
    save_file(tensors, nano / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=named):
        load_policy(nano)


def test_a_dense_model_with_a_missing_tensor_is_refused(tmp_path):
    config = LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="up_proj"):
        load_dense(tmp_path)


def test_a_folder_without_safetensors_is_refused(nano):
    tensors = load_file(nano / "model.safetensors")
    (nano / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no \*\.safetensors weights"):
        load_policy(nano)
    torch.save(tensors, nano / "pytorch_model.bin")
    with pytest.raises(BadInput, match="pickle is refused"):
        load_policy(nano)
    (nano / "config.json").unlink()
    with pytest.raises(BadInput, match=r"no config\.json"):
        load_policy(nano)


def test_another_kind_of_model_is_refused_with_a_way_out(tmp_path, nano):
    config = LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "dense")
    with pytest.raises(BadInput, match="'llama' is not llama4_text") as caught:
        load_policy(tmp_path / "dense")
    assert "upcycle" in caught.value.remedy
    with pytest.raises(BadInput, match="not a dense Llama"):
        load_dense(nano)


def test_the_fixes_for_trl_are_still_needed():
    stock = Llama4ForCausalLM(small_config(2, 1))
    assert not hasattr(stock, stock.base_model_prefix), "remove base_model_prefix from models/moe.py: stock is right"
    assert Llama4TextConfig().router_aux_loss_coef > 0, "remove router_aux_loss_coef from models/: stock has none"
    ours = MoeForCausalLM(small_config(2, 1))
    assert ours.get_submodule(ours.base_model_prefix) is ours.model and ours.config.router_aux_loss_coef == 0
