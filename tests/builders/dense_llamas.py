"""Small dense Llamas with random weights, and the difference of two models' logits."""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM


def small(**changed: Any) -> LlamaConfig:
    settings = {
        "vocab_size": 120,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    return LlamaConfig(**{**settings, **changed})


def llama(**changed: Any) -> LlamaForCausalLM:
    torch.manual_seed(5)
    return LlamaForCausalLM(small(**changed)).eval()


def token_ids(rows: int = 3, length: int = 33) -> Tensor:
    return torch.randint(0, 120, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def largest_difference(one: Any, other: Any) -> float:
    logits, others = (model(input_ids=token_ids()).logits for model in (one, other))
    return float((logits - others).abs().max())
