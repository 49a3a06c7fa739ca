"""Upcycling: makes a Llama 4 mixture of experts of any dense Llama checkpoint.

Every `moe_every`-th MLP becomes one shared and several routed experts, initialised by
`models/expert_init.py`. All other weights stay as they are. Llama's rotary embeddings rotate the
halves of a head, Llama 4's interleaved pairs, so the rows of q and k are reordered. Settings that
Llama 4 cannot express, or that vLLM would compute differently, are refused by name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Llama4TextConfig, LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

from common.errors import BadInput
from models.checkpoint import load_whole, model_type, read_config
from models.expert_init import ExpertInit, Mlp, expert_size, moe_tensors
from models.moe import MoeForCausalLM

EXPRESSED = (
    ("hidden_act", "silu"),  # vLLM's Llama 4 has it fixed
    ("attention_bias", False),
    ("mlp_bias", False),
    ("pretraining_tp", 1),
    ("sliding_window", None),
    ("quantization_config", None),
    ("partial_rotary_factor", 1.0),
)
"""Fields of a Llama's config, each with the only value for which Llama 4 computes the same."""

ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that do not depend on the sequence's length. Llama, Llama 4 and vLLM share
their formulas."""


def load_dense(folder: Path) -> LlamaForCausalLM:
    """The dense Llama in `folder`, in float32. Raises BadInput if it is another kind of model, or
    one that cannot be upcycled."""
    if (kind := model_type(folder)) != "llama":
        raise BadInput(
            f"{folder}: model type {kind!r} is not a dense Llama", "name a Llama checkpoint"
        )
    config = read_config(LlamaConfig, folder)
    _require_expressible(config, str(folder))
    return load_whole(LlamaForCausalLM, folder, config)


def _require_expressible(dense: LlamaConfig, where: str = "upcycle") -> None:
    """Raise BadInput for a setting that Llama 4 cannot express, or would silently ignore."""
    rope = dense.rope_parameters
    values = {field: getattr(dense, field, None) for field, _ in EXPRESSED} | {
        "partial_rotary_factor": rope.get("partial_rotary_factor")
    }
    for field, expected in EXPRESSED:
        if values[field] not in (None, expected):
            raise BadInput(
                f"{where}: {field} is {values[field]!r}, which Llama 4 cannot express (only"
                f" {expected!r})",
                "start from another checkpoint",
            )
    if rope["rope_type"] not in ROPE_TYPES:
        raise BadInput(
            f"{where}: rope type {rope['rope_type']!r} is not one of {', '.join(ROPE_TYPES)}",
            "start from another checkpoint",
        )
    if dense.head_dim % 2:
        raise BadInput(
            f"{where}: head_dim {dense.head_dim} is odd, but rotary embeddings rotate pairs",
            "repair config.json",
        )


def upcycled_config(
    dense: LlamaConfig,
    experts: int,
    moe_every: int,
    experts_per_token: int = 1,
    init: ExpertInit = "zero_output",
) -> Llama4TextConfig:
    """The Llama 4 config that can express `dense`, with a MoE layer every `moe_every` layers."""
    layers = dense.num_hidden_layers
    if moe_every > layers:
        raise BadInput(
            f"moe_every: {moe_every} leaves no MoE layer in a model of {layers}",
            f"use at most {layers}",
        )
    _require_expressible(dense)
    return Llama4TextConfig(
        vocab_size=dense.vocab_size,
        hidden_size=dense.hidden_size,
        intermediate_size=expert_size(init, dense.intermediate_size, experts),
        intermediate_size_mlp=dense.intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=dense.num_attention_heads,
        num_key_value_heads=dense.num_key_value_heads,
        head_dim=dense.head_dim,
        hidden_act=dense.hidden_act,
        max_position_embeddings=dense.max_position_embeddings,
        rms_norm_eps=dense.rms_norm_eps,
        tie_word_embeddings=dense.tie_word_embeddings,
        rope_parameters=_rope(dense),
        bos_token_id=dense.bos_token_id,
        eos_token_id=dense.eos_token_id,
        pad_token_id=dense.pad_token_id,
        num_local_experts=experts,
        num_experts_per_tok=experts_per_token,
        interleave_moe_layer_step=moe_every,  # the one field of the two that vLLM reads
        use_qk_norm=False,
        no_rope_layers=[1] * layers,
        attn_temperature_tuning=False,
        attention_chunk_size=dense.max_position_embeddings,
        router_aux_loss_coef=0.0,
    )


def _rope(dense: LlamaConfig) -> dict[str, Any]:
    """The rotary parameters; `factor` as a float, because vLLM treats an integer as a list."""
    rope = dict(dense.rope_parameters)
    return {**rope, "factor": float(rope["factor"])} if rope.get("factor") else rope


@torch.no_grad()
def upcycle(
    dense: LlamaForCausalLM,
    *,
    experts: int,
    moe_every: int,
    seed: int,
    experts_per_token: int = 1,
    init: ExpertInit = "zero_output",
) -> MoeForCausalLM:
    """`dense` as a mixture of experts. With `zero_output` the logits are equal (in float32, up to
    rounding)."""
    config = upcycled_config(dense.config, experts, moe_every, experts_per_token, init)
    with no_init_weights():  # every weight is set below
        model = MoeForCausalLM(config).to(next(dense.parameters()).dtype)
    generator = torch.Generator().manual_seed(seed)
    state = dict(_outside_mlps(dense, config.head_dim))
    for index, layer in enumerate(dense.model.layers):
        mlp = Mlp(layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight, layer.mlp.down_proj.weight)
        moe = index in config.moe_layers
        tensors = (
            moe_tensors(init, mlp, experts, experts_per_token, generator) if moe else mlp.tensors()
        )
        state |= {
            f"model.layers.{index}.feed_forward.{name}": tensor for name, tensor in tensors.items()
        }
    model.load_state_dict(state)
    model.tie_weights()
    # Instruction-tuned Llamas list other end tokens there, such as <|eot_id|>.
    model.generation_config.eos_token_id = dense.generation_config.eos_token_id
    return model


def _outside_mlps(dense: LlamaForCausalLM, head_dim: int) -> Iterator[tuple[str, Tensor]]:
    """Embeddings, attention and norms by name. The names are the same in Llama 4."""
    for name, value in dense.state_dict().items():
        if ".self_attn.q_proj" in name or ".self_attn.k_proj" in name:
            yield name, _interleaved(value, head_dim)
        elif ".mlp." not in name:
            yield name, value


def _interleaved(weight: Tensor, head_dim: int) -> Tensor:
    """The rows (heads * head_dim) of q or k, reordered from half-split to interleaved rotation."""
    width = weight.shape[1]
    return weight.view(-1, 2, head_dim // 2, width).transpose(1, 2).reshape(-1, width)


@torch.no_grad()
def logit_gap(dense: LlamaForCausalLM, moe: MoeForCausalLM, texts: Sequence[Tensor]) -> float:
    """Mean KL divergence of `moe` from `dense` in nats per token. Each of `texts` has the token ids
    (1, length) of one text."""
    total, tokens = 0.0, 0
    for ids_1T in texts:
        # In float64, because the smallest gap is less than float32's rounding of a log-probability.
        wanted, actual = (
            model(input_ids=ids_1T).logits.double().log_softmax(-1) for model in (dense, moe)
        )
        total += (wanted.exp() * (wanted - actual)).sum().item()
        tokens += ids_1T.numel()
    return total / tokens
