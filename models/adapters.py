"""Selects the weights that train, low-rank adapters or some of the policy's own, and merges
adapters.

PEFT adapts linear layers by name, and the stacked experts, which are plain parameters, through
`target_parameters`. There it adds the change to the whole stack before every forward pass.
`FactoredExperts` passes the two low-rank factors to the experts instead, which apply them to their
own tokens: same parameters, same merging, a fraction of the work. vLLM does not serve such adapters
for Llama 4, so the engine and the checkpoint get merged weights: W + (alpha / r) B A, as PEFT
merges them (LoRA, Hu et al. 2021, arXiv:2106.09685, eq. 3)."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from common.errors import BadInput
from models.config import LoraConfig, Part

LINEAR: dict[Part, str] = {
    "attention": r"self_attn\.(q|k|v|o)_proj",
    "mlp": r"feed_forward\.(gate|up|down)_proj",
    "shared_expert": r"feed_forward\.shared_expert\.(gate|up|down)_proj",
}
EXPERTS = ("feed_forward.experts.gate_up_proj", "feed_forward.experts.down_proj")
ROUTER = re.compile(r"\.feed_forward\.router\.")
ROUTED = re.compile(r"\.feed_forward\.experts\.")
PREFIX = "base_model.model."


class FactoredExperts(ParamWrapper):
    """PEFT's adapter on one stacked parameter, applied to the experts' tokens instead of the
    weight."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The experts' forward pass with this parameter's factors added to those of the wrapper
        around it."""
        if not self.disable_adapters and not self.merged:
            (adapter,) = self.active_adapters
            kwargs[self.parameter_name] = self.get_delta_factors(adapter)
        return self.base_layer(x, *args, **kwargs)


def peft_lora(policy: Any, config: LoraConfig) -> PeftLora:
    """PEFT's config for the requested parts and layers. Raises BadInput for those that the policy
    lacks."""
    count = policy.config.num_hidden_layers
    layers = range(count) if config.layers is None else config.layers
    if outside := sorted({layer for layer in layers if layer >= count}):
        raise BadInput(
            f"lora.layers: {outside}, but the model's layers are 0 to {count - 1}", "name others"
        )
    routed = set(policy.config.moe_layers).intersection(layers)
    present: set[Part] = {"attention"}
    present |= {"shared_expert", "routed_experts"} if routed else set()
    present |= {"mlp"} if routed != set(layers) else set()
    if config.layers is not None and (absent := set(config.parts) - present) == set(config.parts):
        raise BadInput(
            f"lora.parts: layers {list(layers)} have no {', '.join(sorted(absent))}",
            "name other layers",
        )
    linear = "|".join(LINEAR[part] for part in config.parts if part in LINEAR)
    numbers = "|".join(map(str, sorted(set(layers))))
    stacked = [f"model.layers.{layer}.{name}" for layer in sorted(routed) for name in EXPERTS]
    return PeftLora(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=rf"model\.layers\.({numbers})\.({linear})" if linear else [],
        target_parameters=stacked if "routed_experts" in config.parts else None,
        task_type="CAUSAL_LM",
    )


def adapted(policy: nn.Module, config: LoraConfig) -> PeftModel:
    """`policy` with fresh adapters and its own weights frozen. B is zero, so the function does not
    change."""
    model = get_peft_model(policy, peft_lora(policy, config))
    for module in model.modules():
        if type(module) is ParamWrapper:
            module.__class__ = FactoredExperts
    return model


def freeze_untrained(policy: nn.Module, train: str, lora: LoraConfig) -> nn.Module:
    """Prepare `policy` for a stage's `train` setting (`lora`, `full`, `all_but_router` or
    `experts`): only the selected weights require gradients. `lora` adds adapters."""
    if train == "lora":
        return adapted(policy, lora)
    for name, parameter in policy.named_parameters():
        routed, router = bool(ROUTED.search(name)), bool(ROUTER.search(name))
        parameter.requires_grad_(
            {"full": True, "all_but_router": not router, "experts": routed}[train]
        )
    return policy


@torch.no_grad()
def policy_weights(policy: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of the plain policy's state dict with adapters merged; the policy does not
    change.

    A policy sharded over processes is gathered tensor by tensor: call it on all of them, and take
    the same tensors everywhere."""
    changes = dict(_changes(policy)) if isinstance(policy, PeftModel) else {}
    for name, tensor in policy.state_dict().items():
        if "lora_" in name:
            continue
        plain = name.removeprefix(PREFIX).replace(".base_layer", "")
        if plain not in changes:
            yield plain, _whole(tensor)
        else:
            module, adapter = changes.pop(plain)
            yield plain, _whole(tensor) + _whole(module.get_delta_weight(adapter))
    if changes:
        raise RuntimeError(f"adapters without a weight to merge into: {sorted(changes)[:3]}")


def weight_shapes(policy: nn.Module) -> dict[str, Tensor]:
    """The tensors of `policy_weights` on the meta device, in its order; nothing is gathered."""
    return {
        name.removeprefix(PREFIX).replace(".base_layer", ""): torch.empty(
            tensor.shape, dtype=tensor.dtype, device="meta"
        )
        for name, tensor in policy.state_dict().items()
        if "lora_" not in name
    }


def _whole(tensor: Tensor) -> Tensor:
    """A tensor with the parts that other processes hold."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _changes(policy: PeftModel) -> Iterator[tuple[str, tuple[Any, str]]]:
    """The layer and name of each adapter, by the plain name of the weight that it changes."""
    for name, module in policy.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        plain = name.removeprefix(PREFIX).replace(".base_layer", "")
        parameter = getattr(module, "parameter_name", "weight")
        for adapter in module.active_adapters:
            yield f"{plain}.{parameter}", (module, adapter)


def merged(policy: nn.Module) -> Any:
    """The plain policy with adapters permanently merged into its weights."""
    return policy.merge_and_unload() if isinstance(policy, PeftModel) else policy
