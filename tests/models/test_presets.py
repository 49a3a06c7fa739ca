"""The presets: dimensions against the model, transformers and the published figures."""

import pytest
import torch
from transformers import Llama4Config, Llama4VisionConfig
from transformers.models.llama4.modeling_llama4 import (
    Llama4MultiModalProjector,
    Llama4TextL2Norm,
    Llama4TextRotaryEmbedding,
    Llama4VisionModel,
)

from builders.parameter_counts import assert_counts, counted, dimensions_of, on_meta
from models import sizes
from models.nano import nano_config, nano_tokenizer
from models.presets import PRESETS, preset_config

RELEASED = ["scout", "maverick"]
VISION = 871_932_416
"""Parameters of the vision tower and its projector in either released model."""


@pytest.mark.parametrize("name", ["scout", "maverick", "behemoth"])
def test_counts_of_presets_are_those_of_the_model(name):
    assert_counts(preset_config(name))
    assert sizes.from_config(preset_config(name).to_dict()) == dimensions_of(preset=name)


def test_the_nano_preset_has_the_dimensions_of_the_nano_model():
    config = nano_config(nano_tokenizer())
    assert {field: getattr(config, field) for field in PRESETS["nano"]} == PRESETS["nano"]
    assert_counts(config)


@pytest.mark.parametrize(("name", "total"), [("scout", 109e9), ("maverick", 400e9)])
def test_released_models_have_the_published_size(name, total):
    dimensions = dimensions_of(preset=name)
    assert sizes.total(dimensions) + VISION == pytest.approx(total, rel=0.005)
    assert sizes.active(dimensions) == pytest.approx(17e9, rel=0.015)


def test_released_checkpoints_have_the_published_number_of_parameters():
    text = {name: sizes.total(dimensions_of(preset=name)) for name in RELEASED}
    assert {name: count + VISION for name, count in text.items()} == {
        "scout": 108_641_793_536,
        "maverick": 401_583_781_376,
    }


def test_the_size_of_the_vision_part_that_is_left_out():
    vision = Llama4VisionConfig(hidden_size=1408, image_size=336, vision_output_dim=4096)
    with torch.device("meta"):
        tower = Llama4VisionModel(vision)
        projector = Llama4MultiModalProjector(
            Llama4Config(vision_config=vision, text_config=preset_config("scout"))
        )
    assert counted(tower) + counted(projector) == VISION


def test_behemoth_is_close_to_the_announced_size():
    dimensions = dimensions_of(preset="behemoth")
    assert dimensions.experts == 16 and dimensions.experts_per_token == 1
    assert sizes.active(dimensions) == pytest.approx(288e9, rel=0.01)
    assert sizes.total(dimensions) == pytest.approx(2e12, rel=0.01)


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
    assert scout.max_position_embeddings == 10_485_760
    assert maverick.max_position_embeddings == 1_048_576


def test_scouts_rotation_is_slower_beyond_8192_positions_and_mavericks_is_not():
    plain = 500_000.0 ** (-torch.arange(0, 128, 2) / 128)
    slowed = torch.where(2 * torch.pi / plain > 8192, plain / 16, plain)
    rotations = [Llama4TextRotaryEmbedding(preset_config(name)).inv_freq for name in RELEASED]
    torch.testing.assert_close(rotations[0], slowed)
    torch.testing.assert_close(rotations[1], plain)
