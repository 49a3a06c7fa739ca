"""Build the checkpoint that the run starts from: a preset, an upcycled dense Llama, or a copy of a folder."""

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from common.errors import BadInput
from common.stage import Inputs, Outputs, StageContext
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.config import ModelConfig
from models.moe import MoeForCausalLM
from models.packaged import resolve_dense
from stages.base.config import BaseStage


def run(config: BaseStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, float32."""
    context.progress(0, 1, unit="model")
    policy, tokenizer = _build(config.model, context.seed)
    save_policy(policy, tokenizer, context.folder / "checkpoint")
    context.progress(1, 1, unit="model")
    return Outputs(metrics=_sizes(policy))


def _build(model: ModelConfig, seed: int) -> tuple[MoeForCausalLM, PreTrainedTokenizerBase]:
    if model.preset is not None:
        from models.nano import nano_model, nano_tokenizer

        tokenizer = nano_tokenizer()
        return nano_model(tokenizer, seed), tokenizer
    if model.checkpoint is not None:
        folder = Path(model.checkpoint)
        return load_policy(folder), load_tokenizer(folder)
    from models.upcycle import load_dense, upcycle

    assert model.upcycle and model.experts and model.moe_every  # the config has seen to it
    folder = resolve_dense(model.upcycle)
    return upcycle(load_dense(folder), model.experts, model.moe_every, seed), load_tokenizer(folder)


def _sizes(policy: MoeForCausalLM) -> dict[str, int]:
    """Total parameters, and those that one token meets (top-k of the routed experts)."""
    config = policy.config
    total = sum(p.numel() for p in policy.parameters())
    routed = sum(p.numel() for name, p in policy.named_parameters() if ".experts." in name)
    idle = routed - routed * config.num_experts_per_tok // config.num_local_experts
    if not torch.isfinite(torch.stack([p.abs().max() for p in policy.parameters()])).all():
        raise BadInput("the starting model has weights that are not finite", "check the checkpoint it comes from")
    return {"parameters": total, "active_parameters": total - idle}
