"""From a dense Llama to a mixture of experts that computes the same function.

The dense MLP of a chosen layer becomes the shared expert; the routed experts start as copies of it with a zero
`down_proj`, so they add nothing until trained (sparse upcycling, Komatsuzaki et al. 2022, arXiv:2212.05055, with a
shared expert as in Llama 4). Llama rotates the halves of a head, Llama 4 interleaved pairs: the rows of q and k are
reordered to match.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, Llama4TextConfig, LlamaConfig, LlamaForCausalLM

from common.errors import BadInput
from models.checkpoint import load_whole
from models.moe import MoeForCausalLM

ROUTER_STD = 0.02
"""Standard deviation of the fresh router weights: small, so that scores start near one half."""


def load_dense(folder: Path) -> LlamaForCausalLM:
    """The dense Llama in `folder`, float32. BadInput if it is another kind of model."""
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "llama":
        raise BadInput(f"{folder}: model type {config.model_type!r} is not a dense Llama", "name a Llama checkpoint")
    return load_whole(LlamaForCausalLM, folder, config)


def upcycled_config(dense: LlamaConfig, experts: int, moe_every: int) -> Llama4TextConfig:
    """The Llama 4 config that can express `dense`, with a MoE layer every `moe_every` layers."""
    layers = dense.num_hidden_layers
    moe_layers = list(range(moe_every - 1, layers, moe_every))
    if not moe_layers:
        raise BadInput(f"moe_every: {moe_every} leaves no MoE layer in a model of {layers}", f"use at most {layers}")
    _refuse_unsupported(dense)
    return Llama4TextConfig(
        vocab_size=dense.vocab_size,
        hidden_size=dense.hidden_size,
        intermediate_size=dense.intermediate_size,
        intermediate_size_mlp=dense.intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=dense.num_attention_heads,
        num_key_value_heads=dense.num_key_value_heads,
        head_dim=dense.head_dim or dense.hidden_size // dense.num_attention_heads,
        hidden_act=dense.hidden_act,
        max_position_embeddings=dense.max_position_embeddings,
        rms_norm_eps=dense.rms_norm_eps,
        tie_word_embeddings=dense.tie_word_embeddings,
        rope_parameters=dict(dense.rope_parameters),
        bos_token_id=dense.bos_token_id,
        eos_token_id=dense.eos_token_id,
        pad_token_id=dense.pad_token_id,
        num_local_experts=experts,
        num_experts_per_tok=1,
        interleave_moe_layer_step=moe_every,  # the one field of the two that vLLM reads
        use_qk_norm=False,
        no_rope_layers=[1] * layers,
        attn_temperature_tuning=False,
        attention_chunk_size=dense.max_position_embeddings,
        router_aux_loss_coef=0.0,
    )


def _refuse_unsupported(dense: LlamaConfig) -> None:
    for field in ("attention_bias", "mlp_bias"):
        if getattr(dense, field, False):
            raise BadInput(f"upcycle: {field} is set, which Llama 4 has no place for", "start from another checkpoint")


def upcycle(dense: LlamaForCausalLM, experts: int, moe_every: int, seed: int) -> MoeForCausalLM:
    """A MoE with the same logits as `dense` (float32, up to rounding)."""
    config = upcycled_config(dense.config, experts, moe_every)
    model = MoeForCausalLM(config).to(next(dense.parameters()).dtype)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in dense.state_dict().items():
        state.update(_renamed(name, value, config, generator))
    for layer in config.moe_layers:
        shared = f"model.layers.{layer}.feed_forward.shared_expert"
        gate_up = torch.cat([state[f"{shared}.gate_proj.weight"], state[f"{shared}.up_proj.weight"]]).T
        state[f"model.layers.{layer}.feed_forward.experts.gate_up_proj"] = gate_up.repeat(experts, 1, 1)
    model.load_state_dict(state)
    return model


def _renamed(name: str, value: Tensor, config: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """The Llama 4 tensors that one dense tensor becomes."""
    if ".self_attn.q_proj" in name or ".self_attn.k_proj" in name:
        return {name: _interleaved(value, config.head_dim)}
    if ".mlp." not in name:
        return {name: value}
    layer, projection = int(name.split(".")[2]), name.split(".")[4]
    prefix = f"model.layers.{layer}.feed_forward"
    if layer not in config.moe_layers:
        return {f"{prefix}.{projection}.weight": value}
    tensors = {f"{prefix}.shared_expert.{projection}.weight": value}
    if projection == "down_proj":
        experts = config.num_local_experts
        router = torch.randn(experts, config.hidden_size, generator=generator) * ROUTER_STD
        tensors[f"{prefix}.router.weight"] = router.to(value.dtype)
        tensors[f"{prefix}.experts.down_proj"] = value.new_zeros(experts, value.shape[1], value.shape[0])
    return tensors


def _interleaved(weight: Tensor, head_dim: int) -> Tensor:
    """Rows (heads * head_dim) of q or k from half-split to interleaved rotary order."""
    width = weight.shape[1]
    return weight.view(-1, 2, head_dim // 2, width).transpose(1, 2).reshape(-1, width)
