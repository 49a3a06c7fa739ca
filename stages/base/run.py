"""Build the starting checkpoint of a run: a preset, an upcycled dense Llama, or a copy of a
folder."""

import torch
from transformers import PreTrainedTokenizerBase

from common.artifacts import CHECKPOINT
from common.errors import BadInput
from common.stage import Inputs, Outputs, StageContext
from models.checkpoint import load_policy, save_policy
from models.config import ModelConfig
from models.moe import MoeForCausalLM
from models.origin import origin_folder, origin_tokenizer, require_embeddings
from stages.base.config import BaseStage

PROBE = (
    "The capital of France is Paris, and",
    "def add(a, b):\n    return a + b\n",
    "12 apples and 30 pears are 42 fruits.",
)
"""Texts on which an upcycled model is compared with the dense one. A few dozen tokens keep it
cheap."""

Built = tuple[MoeForCausalLM, PreTrainedTokenizerBase, dict[str, float]]
"""The policy, its tokenizer, and metrics about the conversion."""


def run(config: BaseStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `checkpoint/`, in float32."""
    context.progress(0, 1, unit="model")
    policy, tokenizer, figures = _build(config.model, context.seed)
    if config.model.pad_token is not None:
        policy.config.pad_token_id = policy.generation_config.pad_token_id = tokenizer.pad_token_id
    sizes = _sizes(policy)
    save_policy(policy, tokenizer, CHECKPOINT.path(context.folder))
    context.progress(1, 1, unit="model")
    return Outputs(metrics={**sizes, **figures})


def _build(model: ModelConfig, seed: int) -> Built:
    if model.preset not in (None, "nano"):
        raise BadInput(
            f"preset {model.preset} has no weights",
            "name a folder that has them: `checkpoint: FOLDER`",
        )
    if model.preset is not None:
        from models.nano import nano_model, nano_tokenizer

        tokenizer = nano_tokenizer()
        return nano_model(tokenizer, seed), tokenizer, {}
    if model.checkpoint is None:
        return _upcycled(model, seed)
    folder = origin_folder(model)
    tokenizer, policy = origin_tokenizer(model, folder), load_policy(folder)
    require_embeddings(tokenizer, policy.config.vocab_size, folder)
    return policy, tokenizer, {}


def _upcycled(model: ModelConfig, seed: int) -> Built:
    """The mixture of experts, and the gap between its predictions and the dense model's before any
    training, in nats."""
    from models.upcycle import load_dense, logit_gap, upcycle

    assert (
        model.upcycle
        and model.experts
        and model.experts_per_token
        and model.moe_every
        and model.init
    )
    folder = origin_folder(model)
    tokenizer, dense = origin_tokenizer(model, folder), load_dense(folder)
    require_embeddings(tokenizer, dense.config.vocab_size, folder)
    policy = upcycle(
        dense,
        experts=model.experts,
        experts_per_token=model.experts_per_token,
        moe_every=model.moe_every,
        init=model.init,
        seed=seed,
    )
    texts = [torch.tensor([tokenizer(text).input_ids]) for text in PROBE]
    return policy, tokenizer, {"upcycle_gap_nats": logit_gap(dense, policy, texts)}


def _sizes(policy: MoeForCausalLM) -> dict[str, int]:
    """Number of parameters, and of those active per token (top-k of the routed experts).

    Raises BadInput if a weight is not finite."""
    config = policy.config
    total = sum(p.numel() for p in policy.parameters())
    routed = sum(p.numel() for name, p in policy.named_parameters() if ".experts." in name)
    idle = routed - routed * config.num_experts_per_tok // config.num_local_experts
    if not torch.isfinite(torch.stack([p.abs().max() for p in policy.parameters()])).all():
        raise BadInput(
            "the starting model has weights that are not finite",
            "check the checkpoint it comes from",
        )
    return {"parameters": total, "active_parameters": total - idle}
