"""Exact parameter counts from dimensions, without torch, transformers or weights.

The counts are those of `models/moe.py` (tests compare them parameter by parameter). `active` counts
the parameters that one token uses: all but the routed experts it is not sent to. It includes all
embeddings, as the published figures do (17B for Llama 4 Scout and Maverick)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.config import LoraConfig, ModelConfig
from models.packaged import CONFIGS
from models.presets import PRESETS, SCOUT

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama4_text": SCOUT,
    "llama": {
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "head_dim": None,
        "tie_word_embeddings": False,
    },
}
"""transformers' defaults for fields that a `config.json` leaves out; for Llama 4 they are Scout's
sizes."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The dimensions that determine the size of a Llama or Llama 4 text model."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    """Neurons of the MLP in a layer without experts."""
    expert_width: int
    """Neurons of the shared expert and of each routed expert."""
    experts: int
    experts_per_token: int
    moe_layers: tuple[int, ...]
    """Layers with experts, counted from 0; none in a dense model."""
    tied: bool
    """Whether the output head is the embedding."""


def other_sizes(one: Dimensions, other: Dimensions) -> list[str]:
    """Names of the dimensions in which two models differ."""
    return [name for name, size in asdict(one).items() if getattr(other, name) != size]


def dimensions_of(model: ModelConfig) -> Dimensions | None:
    """The dimensions of a recipe's starting model; None if no readable file gives them."""
    if model.preset is not None:
        return from_config(PRESETS[model.preset])
    if model.checkpoint is not None:
        return from_folder(Path(model.checkpoint), "llama4_text")
    # Guaranteed by the config.
    assert model.upcycle and model.experts and model.experts_per_token and model.moe_every
    dense = dense_dimensions(model.upcycle)
    return dense and upcycled(
        dense, model.experts, model.experts_per_token, model.moe_every, model.init == "split"
    )


def dense_dimensions(name_or_folder: str) -> Dimensions | None:
    """The dimensions of a packaged dense model or of the one in a checkpoint folder."""
    packaged = CONFIGS.get(name_or_folder)
    return from_config(packaged) if packaged else from_folder(Path(name_or_folder), "llama")


def upcycled(
    dense: Dimensions, experts: int, experts_per_token: int, moe_every: int, split: bool
) -> Dimensions | None:
    """The dimensions after `models/upcycle.py`; None if the MLP cannot be split into equal
    parts."""
    parts = experts + 1 if split else 1
    if dense.mlp_width % parts:
        return None
    return replace(
        dense,
        experts=experts,
        experts_per_token=experts_per_token,
        expert_width=dense.mlp_width // parts,
        moe_layers=tuple(range(moe_every - 1, dense.layers, moe_every)),
    )


def from_folder(folder: Path, kind: str) -> Dimensions | None:
    """The dimensions in a checkpoint folder's `config.json` if it has this model type, else None.

    A multimodal Llama 4 (`llama4`) counts as its text part, `llama4_text`.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] == "llama4":
            config = {**config["text_config"], "model_type": "llama4_text"}
        return from_config(config) if config["model_type"] == kind else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None  # missing, not JSON, or not a config


def from_config(config: Mapping[str, Any]) -> Dimensions | None:
    """The dimensions in a parsed `config.json` of type `llama` or `llama4_text`, with `DEFAULTS`
    for missing fields."""
    kind = str(config.get("model_type"))
    if kind not in DEFAULTS or config.get("attention_bias") or config.get("mlp_bias"):
        return None  # uphill trains no model with biases
    try:
        return _dimensions({**DEFAULTS[kind], **config}, kind == "llama4_text")
    except (ArithmeticError, TypeError, ValueError):  # a field that is not the number it should be
        return None


def _dimensions(fields: Mapping[str, Any], llama4: bool) -> Dimensions:
    width, layers, heads = (
        int(fields[name]) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    moe_layers = _moe_layers(fields, layers) if llama4 else ()
    return Dimensions(
        vocabulary=int(fields["vocab_size"]),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=int(fields["num_key_value_heads"] or heads),
        head_dim=int(fields["head_dim"] or width // heads),
        mlp_width=int(fields["intermediate_size_mlp" if llama4 else "intermediate_size"]),
        expert_width=int(fields["intermediate_size"]),
        experts=int(fields["num_local_experts"]) if moe_layers else 0,
        experts_per_token=int(fields["num_experts_per_tok"]) if moe_layers else 1,
        moe_layers=moe_layers,
        tied=bool(fields["tie_word_embeddings"]),
    )


def _moe_layers(fields: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """The layers that are named, or else every so many."""
    if fields.get("moe_layers") is not None:
        return tuple(fields["moe_layers"])
    step = int(fields["interleave_moe_layer_step"])
    return tuple(range(step - 1, layers, step))


def total(d: Dimensions) -> int:
    """All parameters."""
    return outside_layers(d) + sum(layers(d))


def routed(d: Dimensions) -> int:
    """Parameters of all routed experts."""
    return 3 * d.width * d.expert_width * d.experts * len(d.moe_layers)


def routers(d: Dimensions) -> int:
    """Parameters of the routers, which choose the experts."""
    return d.width * d.experts * len(d.moe_layers)


def active(d: Dimensions) -> int:
    """Parameters that one token uses: those of its routed experts and all others, embeddings
    included."""
    chosen = 3 * d.width * d.expert_width * d.experts_per_token * len(d.moe_layers)
    return total(d) - routed(d) + chosen


def layers(d: Dimensions) -> list[int]:
    """Parameters of each layer."""
    rest = 2 * d.width * d.head_dim * (d.heads + d.kv_heads) + 2 * d.width
    experts = 3 * d.width * d.expert_width * (d.experts + 1) + d.width * d.experts
    dense = 3 * d.width * d.mlp_width
    return [rest + (experts if layer in d.moe_layers else dense) for layer in range(d.layers)]


def outside_layers(d: Dimensions) -> int:
    """Parameters of embeddings, output head and last norm."""
    return d.vocabulary * d.width * (1 if d.tied else 2) + d.width


def adapters(d: Dimensions, lora: LoraConfig) -> int:
    """Parameters of low-rank adapters: rank * (in + out) per matrix, for routed experts per expert
    and matrix."""
    query, key = d.head_dim * d.heads, d.head_dim * d.kv_heads
    attention = 2 * (d.width + query) + 2 * (d.width + key)
    gated = {"mlp": 3 * (d.width + d.mlp_width), "shared_expert": 3 * (d.width + d.expert_width)}
    gate_and_up, down = d.width + 2 * d.expert_width, d.expert_width + d.width
    sums = {**gated, "attention": attention, "routed_experts": d.experts * (gate_and_up + down)}
    layers = set(range(d.layers)) if lora.layers is None else set(lora.layers)
    moe = len(layers.intersection(d.moe_layers))
    counts = {
        "attention": len(layers),
        "mlp": len(layers) - moe,
        "shared_expert": moe,
        "routed_experts": moe,
    }
    return lora.rank * sum(sums[part] * counts[part] for part in set(lora.parts))


def trainable_parameters(d: Dimensions, train: str, lora: LoraConfig) -> int:
    """Parameters that a stage with this `train` setting updates."""
    if train == "lora":
        return adapters(d, lora)
    return {"full": total(d), "all_but_router": total(d) - routers(d), "experts": routed(d)}[train]


def cache_bytes(d: Dimensions, bytes_per_value: int) -> int:
    """Bytes of key-value cache per token. An upper bound, as layers with chunked attention cache at
    most one chunk."""
    return 2 * d.layers * d.kv_heads * d.head_dim * bytes_per_value
