"""Low-rank adapters on the policy, and the exact weights that a policy with adapters computes with.

PEFT adapts linear layers by name and the stacked experts, which are plain parameters, through `target_parameters`
(dropout must be 0 there). vLLM does not serve such adapters for Llama 4, so the engine and the checkpoint get merged
weights: W + (alpha / r) B A, as PEFT itself merges them (LoRA, Hu et al. 2021, arXiv:2106.09685, eq. 3).
"""

from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

from models.config import LoraConfig

LINEAR = r"(self_attn\.(q|k|v|o)_proj|feed_forward(\.shared_expert)?\.(gate|up|down)_proj)"
EXPERTS = ["feed_forward.experts.gate_up_proj", "feed_forward.experts.down_proj"]
PREFIX = "base_model.model."


def peft_lora(config: LoraConfig) -> PeftLora:
    """The PEFT config for every linear layer of attention and MLPs, and for the stacked experts if asked."""
    return PeftLora(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=rf".*\.{LINEAR}$",
        target_parameters=EXPERTS if config.experts else None,
        task_type="CAUSAL_LM",
    )


def adapted(policy: nn.Module, config: LoraConfig) -> PeftModel:
    """`policy` with fresh adapters (B starts at zero: the function does not change); its own weights are frozen."""
    return get_peft_model(policy, peft_lora(config))


@torch.no_grad()
def policy_weights(policy: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of the plain policy's state dict, adapters merged in; the policy itself is left as it is."""
    if not isinstance(policy, PeftModel):
        yield from policy.state_dict().items()
        return
    deltas = dict(_deltas(policy))
    for name, tensor in policy.state_dict().items():
        if "lora_" in name:
            continue
        plain = name.removeprefix(PREFIX).replace(".base_layer", "")
        yield plain, tensor + deltas.pop(plain) if plain in deltas else tensor
    if deltas:
        raise RuntimeError(f"adapters without a weight to merge into: {sorted(deltas)[:3]}")


def _deltas(policy: PeftModel) -> Iterator[tuple[str, Tensor]]:
    """The change that each adapter makes, by the plain name of the weight that it changes."""
    for name, module in policy.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        plain = name.removeprefix(PREFIX).replace(".base_layer", "")
        parameter = getattr(module, "parameter_name", "weight")
        for adapter in module.active_adapters:
            yield f"{plain}.{parameter}", module.get_delta_weight(adapter)


def merged(policy: nn.Module) -> Any:
    """The plain policy with adapters merged into its weights for good."""
    return policy.merge_and_unload() if isinstance(policy, PeftModel) else policy
