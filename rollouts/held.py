"""Proof that an engine in bfloat16 holds the published weights, each rounded once.

Rounding alone moves log-probabilities by more than an optimiser step does, so they cannot show old
weights. Instead the engine reads its weights back, and every tensor is compared by a digest. vLLM
fuses tensors, pads them with zeros and repacks them, and changes no value. Of a matrix the digest
keeps which value is in which row, of a stack of experts which are in which expert.

On a CPU vLLM keeps only what its kernels have packed of a linear layer, the output head's copy
among it. Such a layer is read by what it makes of unit vectors: each of its products is a weight
times 1, and the sums are exact. So a matrix is read through the kernel that computes with it.

vLLM lays out the rows of queries and keys in the order that its rotary embedding wants. Of these
two the digest keeps the rows, and not their order.

What this does not show: that the experts' kernel reads its values, and attention its rows of
queries and keys, in the right order. A wrong order moves log-probabilities by far more than
rounding, and is found by the drift (`parity.py`)."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import RunFailed
from rollouts.sync import EMBEDDING, HEAD

EXPONENT = 0x7F80
"""Bits of a bfloat16's exponent. They are 0 in zeros, which padding is made of, and in numbers
below 1.2e-38, which kernels for bfloat16 take for zeros."""
VALUES = 1 << 18
"""Values that are looked up at once; more leave the processor's caches."""
REORDERED = ("self_attn.q_proj.weight", "self_attn.k_proj.weight")
"""How the names of matrices end whose rows vLLM reorders."""
Digests = Mapping[str, str]
"""Digest of each tensor, by its name in the checkpoint."""


class Published:
    """What an engine has to hold: digests of the weights that went to it."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def noting(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The same weights; they are noted as they pass by."""
        for name, tensor in weights:
            self._digests[name] = digest(tensor, name)
            yield name, tensor

    def require(self, held: Digests, where: str) -> None:
        """RunFailed unless an engine holds these weights; `where` says which engine."""
        tied = {} if HEAD in self._digests else {HEAD: self._digests[EMBEDDING]}
        expected = self._digests | tied
        wrong = sorted(
            name for name in expected.keys() | held.keys() if expected.get(name) != held.get(name)
        )
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise RunFailed(
                f"{where} does not hold the weights that were published, rounded to bfloat16:"
                f" {', '.join(wrong[:3])}{more} of {len(expected)} tensors",
                "the rollouts would not come from the weights that train: report this with the"
                " stage's log",
            )


def digest(tensor: Tensor, name: str = "") -> str:
    """The digest of a tensor after rounding to bfloat16: for each index of the first dimension one
    sum over its values, which does not depend on their order. The tensor's `name` tells whether the
    order of these sums counts."""
    rows = tensor.detach().reshape(len(tensor), -1)
    count = max(1, VALUES // max(1, rows.shape[1]))
    return _of_sums(name, torch.cat([_marks(block).sum(1) for block in rows.split(count)]))


def held(model: Any) -> dict[str, str]:
    """The digest of every tensor that a vLLM model computes with, by its name in the checkpoint."""
    from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts
    from vllm.model_executor.layers.linear import LinearBase
    from vllm.model_executor.layers.vocab_parallel_embedding import (
        ParallelLMHead,
        VocabParallelEmbedding,
    )

    found: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, RoutedExperts):
            stack = name.removesuffix(".routed_experts")
            found[f"{stack}.gate_up_proj"] = digest(module.w13_weight, stack)
            found[f"{stack}.down_proj"] = digest(module.w2_weight, stack)
        elif isinstance(module, LinearBase):
            found |= _linear(name, module, model.packed_modules_mapping)
        elif isinstance(module, ParallelLMHead):
            sums = _row_sums(module, module.embedding_dim)
            found[f"{name}.weight"] = _of_sums(name, sums[: module.org_vocab_size])
        elif isinstance(module, VocabParallelEmbedding):
            found[f"{name}.weight"] = digest(module.weight[: module.org_vocab_size], name)
        else:
            for own, parameter in module.named_parameters(recurse=False):
                found[f"{name}.{own}"] = digest(parameter, own)
    return found


def _linear(name: str, module: Any, fused: Mapping[str, list[str]]) -> dict[str, str]:
    """The digests of the matrices that a linear layer is made of."""
    sums = _row_sums(module, module.input_size)
    parent, _, last = name.rpartition(".")
    if last not in fused:
        return {f"{name}.weight": _of_sums(name, sums)}
    names = [f"{parent}.{part}.weight" for part in fused[last]]
    parts = zip(names, sums.split(module.output_sizes), strict=True)
    return {part: _of_sums(part, own) for part, own in parts}


def _row_sums(module: Any, width: int) -> Tensor:
    """The sum of each row of a layer's weight matrix, from the layer's products with unit vectors
    of `width` dimensions."""
    device = next(module.parameters()).device
    total: Any = 0
    for columns in torch.arange(width, device=device).split(512):
        units = torch.nn.functional.one_hot(columns, width).to(torch.bfloat16)
        total = total + _marks(module.quant_method.apply(module, units)).sum(0)
    return total


def _of_sums(name: str, sums: Tensor) -> str:
    kept = sums.sort().values if name.endswith(REORDERED) else sums
    return hashlib.sha256(kept.cpu().numpy().tobytes()).hexdigest()


def _marks(values: Tensor) -> Tensor:
    """A 64-bit number for every value, the same for equal values; sums of them wrap around."""
    bits = values.to(torch.bfloat16).contiguous().view(torch.int16).int() & 0xFFFF
    return _table(values.device)[bits]


@cache
def _table(device: torch.device) -> Tensor:
    """The numbers of all bfloat16 values, by their bits: random, and 0 for zero."""
    random = hashlib.shake_256(b"bfloat16").digest(8 << 16)
    table = torch.from_numpy(np.frombuffer(random, dtype="<i8").copy())
    table[(torch.arange(1 << 16) & EXPONENT) == 0] = 0
    return table.to(device)
