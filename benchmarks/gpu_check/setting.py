"""Where and how large a check runs, and the models that it runs on."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Llama4TextConfig

from models.moe import MoeForCausalLM
from models.nano import nano_model, nano_tokenizer

MEDIUM: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "intermediate_size_mlp": 4096,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 8,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "attn_implementation": "sdpa",
}
"""A mixture of experts of 0.5B parameters: large enough for a GPU, small enough for AdamW in
float32 beside activations."""


class Skipped(Exception):
    """A part that this machine cannot run; the message says why."""


@dataclass(frozen=True)
class Setting:
    """The device of a run, and whether it is the small one that tests the script itself."""

    device: str
    """`cuda` or `cpu`."""
    small: bool

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    def require_cuda(self) -> None:
        if not self.cuda:
            raise Skipped("needs CUDA")

    def tiny(self, seed: int = 1) -> MoeForCausalLM:
        """The `nano` preset, from random weights, on the CPU."""
        return nano_model(nano_tokenizer(), seed)

    def policy(self, seed: int = 1) -> MoeForCausalLM:
        """The model whose speed and memory are measured, in float32 on the device."""
        if self.small:
            return self.tiny(seed).to(self.device)
        torch.manual_seed(seed)
        with torch.device(self.device):
            return MoeForCausalLM(Llama4TextConfig(**MEDIUM))

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 arithmetic with float32 weights, as `precision: bfloat16` trains."""
        return torch.autocast(self.device, torch.bfloat16)

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], rounds: int = 5) -> float:
        """Median seconds of `run`, after one call to warm up."""
        times = []
        for _ in range(1 + (2 if self.small else rounds)):
            self.synchronize()
            began = time.perf_counter()
            run()
            self.synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])


def gradients(policy: torch.nn.Module) -> dict[str, Tensor]:
    """Every gradient by the parameter's name, whole and on the CPU."""
    return {
        name: whole(parameter.grad).cpu()
        for name, parameter in policy.named_parameters()
        if parameter.grad is not None
    }


def whole(tensor: Tensor) -> Tensor:
    """A tensor, or all of it where FSDP2 holds a part."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def relative_gaps(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Of two sets of gradients: the norm of their difference over the norm of `expected`, for all
    together and for the worst parameter."""
    if found.keys() != expected.keys():
        raise AssertionError(f"gradients differ in names: {found.keys() ^ expected.keys()}")
    squares = {
        name: ((found[name] - value).double().norm() ** 2, value.double().norm() ** 2)
        for name, value in expected.items()
    }
    difference = torch.stack([a for a, _ in squares.values()]).sum()
    size = torch.stack([b for _, b in squares.values()]).sum()
    worst = max((a / b).sqrt().item() for a, b in squares.values() if b > 0)
    return {"all": (difference / size).sqrt().item(), "worst_parameter": worst}
