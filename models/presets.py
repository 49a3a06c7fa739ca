"""Dimensions of models, as the fields of a `config.json`, for `uphill plan` without weights.

`scout` and `maverick` are the text parts of Llama 4 Scout and Maverick (17B active each), with the
dimensions of their instruction-tuned checkpoints. `behemoth` is our planning assumption: Meta
announced 288B active parameters, 16 experts and nearly 2T in all (April 2025), but no dimensions.
transformers is imported only to make a config object."""

from collections.abc import Mapping
from typing import Any

SCOUT: Mapping[str, Any] = {
    "model_type": "llama4_text",
    "vocab_size": 202_048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16_384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_act": "silu",
    "attention_bias": False,
    "max_position_embeddings": 10_485_760,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "use_qk_norm": True,
    "no_rope_layer_interval": 4,
    "attention_chunk_size": 8192,
    "attn_temperature_tuning": True,
    "floor_scale": 8192,
    "attn_scale": 0.1,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 16.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
    },
    "bos_token_id": 200_000,
    "eos_token_id": [200_001, 200_007, 200_008],
    "pad_token_id": 200_018,
}

MAVERICK: Mapping[str, Any] = {
    **SCOUT,
    "max_position_embeddings": 1_048_576,
    "num_local_experts": 128,
    "interleave_moe_layer_step": 2,
    "use_qk_norm": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
}

# Scout's proportions at the width of Llama 3.1 405B (16384, 128 heads, 8 of them for keys and
# values): every layer has experts, and the shared and each routed expert are half as wide as that
# model's MLP (53248), as Scout's 8192 is half of 16384. The number of layers is the one that brings
# both counts closest to the announced ones.
BEHEMOTH: Mapping[str, Any] = {
    **SCOUT,
    "hidden_size": 16_384,
    "intermediate_size": 26_624,
    "intermediate_size_mlp": 53_248,
    "num_hidden_layers": 88,
    "num_attention_heads": 128,
}

# The sizes in `models/nano.py`, which imports torch. A test in `tests/models/` checks that the two
# are equal.
NANO: Mapping[str, Any] = {
    "model_type": "llama4_text",
    "vocab_size": 103,
    "hidden_size": 128,
    "intermediate_size": 256,
    "intermediate_size_mlp": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "tie_word_embeddings": True,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "nano": NANO,
    "scout": SCOUT,
    "maverick": MAVERICK,
    "behemoth": BEHEMOTH,
}

_RELEASED = "text part of Llama 4 {}; its vision tower and projector (0.87B more) are left out"
NOTES: Mapping[str, str] = {
    "scout": _RELEASED.format("Scout"),
    "maverick": _RELEASED.format("Maverick"),
    "behemoth": (
        "the dimensions of Llama 4 Behemoth are not published: 88 layers of width 16384 with 16"
        " experts of width 26624 are uphill's assumption, chosen to give the announced 288B"
        " active parameters and about 2T in all"
    ),
}
"""Notes in a plan about the presets for planning only, which have dimensions and no weights."""


def preset_config(name: str) -> Any:
    """The `Llama4TextConfig` of a preset for planning, for a `MoeForCausalLM` on the meta
    device."""
    from transformers import Llama4TextConfig

    fields = {field: value for field, value in PRESETS[name].items() if field != "model_type"}
    return Llama4TextConfig(**fields)
