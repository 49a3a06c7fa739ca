"""The model definition against transformers' own; the `nano` preset."""

import string

import torch
from transformers import Llama4ForCausalLM, Llama4TextConfig

from models.moe import MoeForCausalLM, SparseMoe
from models.nano import nano_model, nano_tokenizer

TOKENIZER = nano_tokenizer()
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4 ="}]


def small_config():
    return Llama4TextConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=24,
        intermediate_size_mlp=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        attention_chunk_size=64,
        interleave_moe_layer_step=2,
        num_local_experts=2,
        num_experts_per_tok=1,
        initializer_range=0.3,
        pad_token_id=0,
        attn_implementation="eager",
    )


def test_nano_is_small_and_depends_on_its_seed_alone():
    one, other = nano_model(TOKENIZER, 1), nano_model(TOKENIZER, 1)
    assert 1_000_000 < sum(p.numel() for p in one.parameters()) < 3_000_000
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, nano_model(TOKENIZER, 2).lm_head.weight)
    kinds = [layer.is_moe_layer for layer in one.model.layers]
    assert kinds == [False, True, False, True]
    assert all(
        isinstance(layer.feed_forward, SparseMoe) == layer.is_moe_layer
        for layer in one.model.layers
    )


def test_the_tokenizer_gives_back_every_printable_character():
    text = "".join(c for c in string.printable if c.isprintable()) + "  two\nlines"
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    assert TOKENIZER.decode(ids) == text and len(ids) == len(text)
    assert TOKENIZER("é", add_special_tokens=False).input_ids == [TOKENIZER.unk_token_id]


def test_an_answered_chat_begins_with_the_generation_prompt():
    asked = TOKENIZER.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    answered = TOKENIZER.apply_chat_template(
        [*CHAT, {"role": "assistant", "content": "7"}], return_dict=False
    )
    assert TOKENIZER.decode(asked) == "<|system|>Be brief.<|user|>3 + 4 =<|assistant|>"
    assert answered[: len(asked)] == asked
    assert TOKENIZER.decode(answered[len(asked) :]) == "7<|end|>"


def test_the_fixes_for_trl_are_still_needed():
    stock = Llama4ForCausalLM(small_config())
    assert not hasattr(stock, stock.base_model_prefix), (
        "remove base_model_prefix from models/moe.py: stock is right"
    )
    assert Llama4TextConfig().router_aux_loss_coef > 0, (
        "remove router_aux_loss_coef from models/: stock has none"
    )
    ours = MoeForCausalLM(small_config())
    assert (
        ours.get_submodule(ours.base_model_prefix) is ours.model
        and ours.config.router_aux_loss_coef == 0
    )
