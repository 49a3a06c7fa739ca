"""Parameter counts from dimensions, against models of transformers and PEFT."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Llama4Config, Llama4TextConfig, LlamaConfig, LlamaForCausalLM

from builders.parameter_counts import assert_counts, counted, dimensions_of, known, on_meta
from models import sizes
from models.adapters import freeze_untrained
from models.config import LoraConfig, ModelConfig
from models.moe import MoeForCausalLM
from models.packaged import CONFIGS, resolve_dense
from models.presets import preset_config
from models.upcycle import upcycled_config

ROOT = Path(__file__).parents[2]


@st.composite
def small_configs(draw):
    layers, kv_heads = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    experts = draw(st.integers(1, 4))
    return Llama4TextConfig(
        vocab_size=draw(st.integers(2, 40)),
        hidden_size=draw(st.sampled_from([8, 24])),
        intermediate_size=draw(st.integers(1, 20)),
        intermediate_size_mlp=draw(st.integers(1, 20)),
        num_hidden_layers=layers,
        num_attention_heads=kv_heads * draw(st.integers(1, 2)),
        num_key_value_heads=kv_heads,
        head_dim=draw(st.sampled_from([4, 8])),
        num_local_experts=experts,
        num_experts_per_tok=draw(st.integers(1, experts)),
        interleave_moe_layer_step=draw(st.integers(1, layers)),
        tie_word_embeddings=draw(st.booleans()),
        max_position_embeddings=64,
    )


loras = st.builds(
    LoraConfig,
    rank=st.integers(1, 5),
    parts=st.lists(st.sampled_from(LoraConfig().parts), unique=True).map(
        lambda more: ("attention", *more)
    ),
    layers=st.none() | st.just((0,)),
)


@given(small_configs())
@settings(deadline=None, max_examples=25)
def test_counts_are_those_of_the_model(config):
    assert_counts(config)


@given(small_configs(), loras, st.sampled_from(["lora", "full", "all_but_router", "experts"]))
@settings(deadline=None, max_examples=40)
def test_trainable_parameters_are_those_that_require_gradients(config, lora, train):
    model = freeze_untrained(MoeForCausalLM(config), train, lora)
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (
        sizes.trainable_parameters(known(sizes.from_config(config.to_dict())), train, lora)
        == moving
    )


@given(small_configs())
@settings(deadline=None, max_examples=10)
def test_the_cache_has_the_size_that_a_forward_pass_fills(config):
    cache = MoeForCausalLM(config)(
        input_ids=torch.ones(1, 7, dtype=torch.long), use_cache=True
    ).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert sizes.cache_bytes(known(sizes.from_config(config.to_dict())), 4) * 7 == held


def test_a_dense_model_is_counted_too():
    for tied in (True, False):
        config = LlamaConfig(
            vocab_size=50,
            hidden_size=24,
            intermediate_size=30,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=tied,
        )
        dimensions = known(sizes.from_config(config.to_dict()))
        assert (
            sizes.total(dimensions) == sizes.active(dimensions) == counted(LlamaForCausalLM(config))
        )
        assert sizes.routed(dimensions) == sizes.routers(dimensions) == 0


def test_defaults_of_missing_fields_are_those_of_transformers():
    for kind, defaults in (
        (Llama4TextConfig, sizes.DEFAULTS["llama4_text"]),
        (LlamaConfig, sizes.DEFAULTS["llama"]),
    ):
        written = {field: defaults[field] for field in ("vocab_size", "tie_word_embeddings")}
        bare = sizes.from_config({"model_type": kind.model_type, **written})
        assert bare == sizes.from_config(kind(**written).to_dict())


def test_the_packaged_model_is_known_before_it_is_converted():
    converted = json.loads((resolve_dense("smollm2-135m-instruct") / "config.json").read_text())
    packaged = CONFIGS["smollm2-135m-instruct"]
    assert {field: converted[field] for field in packaged} == packaged
    assert sizes.total(known(sizes.dense_dimensions("smollm2-135m-instruct"))) == 134_515_008


def test_a_multimodal_checkpoint_counts_as_its_text_part(tmp_path):
    config = Llama4Config(text_config=preset_config("maverick"))
    config.save_pretrained(tmp_path)
    assert dimensions_of(checkpoint=str(tmp_path)) == dimensions_of(preset="maverick")


@pytest.mark.parametrize("init", ["zero_output", "noise", "split"])
def test_upcycled_dimensions_are_those_of_the_upcycled_config(tmp_path, init):
    dense = LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=30,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
    )
    dense.save_pretrained(tmp_path)
    counts = {"experts": 4, "experts_per_token": 2, "moe_every": 2}
    config = upcycled_config(dense, **counts, init=init)
    assert dimensions_of(upcycle=str(tmp_path), **counts, init=init) == sizes.from_config(
        config.to_dict()
    )
    assert_counts(config)


def test_upcycling_adds_experts_or_splits_the_mlp():
    smollm2 = "smollm2-135m-instruct"
    dense = known(sizes.dense_dimensions(smollm2))
    grown = dimensions_of(upcycle=smollm2, experts=4)
    assert grown.moe_layers == tuple(range(2, 30, 3))
    assert grown.expert_width == grown.mlp_width == 1536
    split = dimensions_of(upcycle=smollm2, experts=3, init="split")
    assert (split.expert_width, split.mlp_width) == (384, 1536)
    assert sizes.total(split) == sizes.total(dense) + sizes.routers(split)
    uneven = ModelConfig(upcycle=smollm2, experts=4, init="split")
    assert sizes.dimensions_of(uneven) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        '{"model_type": "qwen3"}',
        '{"model_type": "llama4_text", "hidden_size": "wide"}',
        '{"model_type": "llama4"}',
        '{"model_type": "llama4_text", "attention_bias": true}',
        '{"model_type": "llama4_text", "num_attention_heads": 0, "head_dim": null}',
    ],
)
def test_a_missing_or_unknown_config_has_no_dimensions(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert sizes.dimensions_of(ModelConfig(checkpoint=str(tmp_path))) is None
    assert sizes.dimensions_of(ModelConfig(upcycle=str(tmp_path))) is None


@pytest.mark.parametrize("preset", ["nano", "scout", "maverick"])
def test_each_layer_and_what_is_outside_of_layers(preset):
    dimensions, model = dimensions_of(preset=preset), on_meta(preset_config(preset))
    inside = [counted(layer) for layer in model.model.layers]
    assert sizes.layers(dimensions) == inside
    assert sizes.outside_layers(dimensions) == counted(model) - sum(inside)


def test_sizes_and_presets_load_neither_torch_nor_transformers():
    code = (
        "import models.sizes, models.presets, sys; sys.exit(bool({'torch', 'transformers'} &"
        " sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
