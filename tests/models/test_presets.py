"""Published dimensions and counts from dimensions: against transformers' own model, PEFT and the
published figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Llama4Config,
    Llama4TextConfig,
    Llama4VisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.models.llama4.modeling_llama4 import (
    Llama4MultiModalProjector,
    Llama4TextL2Norm,
    Llama4TextRotaryEmbedding,
    Llama4VisionModel,
)

from models import sizes
from models.adapters import trainable
from models.config import LoraConfig, ModelConfig
from models.moe import MoeForCausalLM
from models.nano import nano_config, nano_tokenizer
from models.packaged import CONFIGS, resolve_dense
from models.presets import PRESETS, preset_config
from models.upcycle import upcycled_config

ROOT = Path(__file__).parents[2]
RELEASED = ["scout", "maverick"]
VISION = 871_932_416
"""Parameters of the vision tower and its projector in either released model."""


def on_meta(config):
    """The model without its numbers."""
    with torch.device("meta"):
        return MoeForCausalLM(config)


def counted(model, part=""):
    return sum(p.numel() for name, p in model.named_parameters() if part in name)


def assert_counts(config):
    """Every count from dimensions is that of the model made from the same config."""
    found, model = sizes.from_config(config.to_dict()), on_meta(config)
    routed = counted(model, ".feed_forward.experts.")
    idle = routed - routed * config.num_experts_per_tok // config.num_local_experts
    assert sizes.total(found) == counted(model)
    assert sizes.routed(found) == routed
    assert sizes.routers(found) == counted(model, ".feed_forward.router.")
    assert sizes.active(found) == counted(model) - idle


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
def test_trained_weights_are_counted_as_they_are_set_up(config, lora, train):
    model = trainable(MoeForCausalLM(config), train, lora)
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sizes.trainable(sizes.from_config(config.to_dict()), train, lora) == moving


@given(small_configs())
@settings(deadline=None, max_examples=10)
def test_the_cache_takes_what_a_forward_pass_leaves_in_it(config):
    cache = MoeForCausalLM(config)(
        input_ids=torch.ones(1, 7, dtype=torch.long), use_cache=True
    ).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert sizes.cache_bytes(sizes.from_config(config.to_dict()), 4) * 7 == held


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
        found = sizes.from_config(config.to_dict())
        assert sizes.total(found) == sizes.active(found) == counted(LlamaForCausalLM(config))
        assert sizes.routed(found) == sizes.routers(found) == 0


@pytest.mark.parametrize("name", ["scout", "maverick", "behemoth"])
def test_counts_of_presets_are_those_of_the_model(name):
    assert_counts(preset_config(name))
    assert sizes.from_config(preset_config(name).to_dict()) == sizes.dimensions_of(
        ModelConfig(preset=name)
    )


def test_nano_is_what_nano_is():
    config = nano_config(nano_tokenizer())
    assert {field: getattr(config, field) for field in PRESETS["nano"]} == PRESETS["nano"]
    assert_counts(config)


@pytest.mark.parametrize(("name", "total"), [("scout", 109e9), ("maverick", 400e9)])
def test_released_models_have_the_published_size(name, total):
    found = sizes.dimensions_of(ModelConfig(preset=name))
    assert sizes.total(found) + VISION == pytest.approx(total, rel=0.005)
    assert sizes.active(found) == pytest.approx(17e9, rel=0.015)


def test_released_checkpoints_hold_as_many_parameters_as_they_say():
    text = {name: sizes.total(sizes.dimensions_of(ModelConfig(preset=name))) for name in RELEASED}
    assert {name: count + VISION for name, count in text.items()} == {
        "scout": 108_641_793_536,
        "maverick": 401_583_781_376,
    }


def test_the_vision_part_that_is_left_out():
    vision = Llama4VisionConfig(hidden_size=1408, image_size=336, vision_output_dim=4096)
    with torch.device("meta"):
        tower = Llama4VisionModel(vision)
        projector = Llama4MultiModalProjector(
            Llama4Config(vision_config=vision, text_config=preset_config("scout"))
        )
    assert counted(tower) + counted(projector) == VISION


def test_behemoth_comes_close_to_what_was_announced():
    found = sizes.dimensions_of(ModelConfig(preset="behemoth"))
    assert found.experts == 16 and found.experts_per_token == 1
    assert sizes.active(found) == pytest.approx(288e9, rel=0.01)
    assert sizes.total(found) == pytest.approx(2e12, rel=0.01)


@pytest.mark.parametrize("name", RELEASED)
def test_attention_is_as_published(name):
    config = preset_config(name)
    assert [layer for layer, rope in enumerate(config.no_rope_layers) if not rope] == list(
        range(3, 48, 4)
    )
    full = [layer for layer, kind in enumerate(config.layer_types) if kind == "full_attention"]
    assert full == list(range(3, 48, 4)) and config.attention_chunk_size == 8192
    assert config.attn_temperature_tuning and (config.floor_scale, config.attn_scale) == (8192, 0.1)
    assert (config.bos_token_id, config.eos_token_id) == (200_000, [200_001, 200_007, 200_008])
    assert config.pad_token_id == 200_018 and config.rms_norm_eps == 1e-5
    assert config.rope_parameters["rope_theta"] == 500_000.0


def test_only_scout_norms_queries_and_keys_and_only_where_it_rotates():
    normed = {
        name: [
            layer.self_attn.layer_idx
            for layer in on_meta(preset_config(name)).model.layers
            if normalises(layer)
        ]
        for name in RELEASED
    }
    assert normed == {"scout": [layer for layer in range(48) if layer % 4 != 3], "maverick": []}


def normalises(layer):
    return any(isinstance(module, Llama4TextL2Norm) for module in layer.self_attn.modules())


def test_every_layer_of_scout_and_every_second_of_maverick_has_experts():
    scout, maverick = map(preset_config, RELEASED)
    assert scout.moe_layers == list(range(48)) and maverick.moe_layers == list(range(1, 48, 2))
    assert (scout.max_position_embeddings, maverick.max_position_embeddings) == (
        10_485_760,
        1_048_576,
    )


def test_scouts_rotation_is_slowed_beyond_8192_positions_and_mavericks_is_not():
    plain = 500_000.0 ** (-torch.arange(0, 128, 2) / 128)
    slowed = torch.where(2 * torch.pi / plain > 8192, plain / 16, plain)
    rotations = [Llama4TextRotaryEmbedding(preset_config(name)).inv_freq for name in RELEASED]
    torch.testing.assert_close(rotations[0], slowed)
    torch.testing.assert_close(rotations[1], plain)


def test_left_out_fields_are_what_transformers_takes():
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
    assert sizes.total(sizes.dense_dimensions("smollm2-135m-instruct")) == 134_515_008


def test_a_multimodal_checkpoint_counts_as_its_text_part(tmp_path):
    config = Llama4Config(text_config=preset_config("maverick"))
    config.save_pretrained(tmp_path)
    found = sizes.dimensions_of(ModelConfig(checkpoint=str(tmp_path)))
    assert found == sizes.dimensions_of(ModelConfig(preset="maverick"))


@pytest.mark.parametrize("start", ["silent", "noise", "split"])
def test_upcycling_has_the_dimensions_of_what_it_makes(tmp_path, start):
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
    model = ModelConfig(
        upcycle=str(tmp_path), experts=4, experts_per_token=2, moe_every=2, start=start
    )
    config = upcycled_config(dense, experts=4, moe_every=2, experts_per_token=2, start=start)
    assert sizes.dimensions_of(model) == sizes.from_config(config.to_dict())
    assert_counts(config)


def test_upcycling_adds_experts_or_splits_the_mlp():
    dense = sizes.dense_dimensions("smollm2-135m-instruct")
    grown = sizes.dimensions_of(ModelConfig(upcycle="smollm2-135m-instruct", experts=4))
    assert (
        grown.moe_layers == tuple(range(2, 30, 3)) and grown.expert_width == grown.mlp_width == 1536
    )
    split = sizes.dimensions_of(
        ModelConfig(upcycle="smollm2-135m-instruct", experts=3, start="split")
    )
    assert (split.expert_width, split.mlp_width) == (384, 1536)
    assert sizes.total(split) == sizes.total(dense) + sizes.routers(split)
    assert (
        sizes.dimensions_of(ModelConfig(upcycle="smollm2-135m-instruct", experts=4, start="split"))
        is None
    )


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
def test_what_is_not_there_or_not_known_has_no_dimensions(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert sizes.dimensions_of(ModelConfig(checkpoint=str(tmp_path))) is None
    assert sizes.dimensions_of(ModelConfig(upcycle=str(tmp_path))) is None


def test_sizes_and_presets_load_neither_torch_nor_transformers():
    code = (
        "import models.sizes, models.presets, sys; sys.exit(bool({'torch', 'transformers'} &"
        " sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
