"""The tensors of one forward pass of an RL step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.packed import PackedBatch, pack
from rollouts.interface import Rollout
from stages.rl.passes import Part

Batch = dict[str, Any]
"""B completions of at most C tokens, padded on the right: `packed` (a `PackedBatch`), `mask` (B, C)
with 1 at tokens, `advantages` (B,), `engine_logprobs` (B, C) and `loss_tokens` (a scalar). A pass
without completions has `loss_tokens` only."""
IDLE = Part([0], [Rollout([0], [0.0], "", "stop")], [0.0])
"""What a process computes, with weight 0, while others have the completions of a pass: DDP and
FSDP2 wait for every process in every pass."""


def idle(loss_tokens: int) -> Batch:
    """The tensors of a pass in which this process has no completions, but others have."""
    tensors = collate([IDLE], 0, loss_tokens)
    return {**tensors, "mask": torch.zeros_like(tensors["mask"])}


def collate(parts: Sequence[Part], pad: int, loss_tokens: int) -> Batch:
    """The tensors of a pass. `pad` is the token id of padding, `loss_tokens` the number of
    completion tokens that the loss of the whole step is divided by."""
    tokens = {"loss_tokens": torch.tensor(loss_tokens)}
    if not parts:
        return tokens
    rollouts = [rollout for part in parts for rollout in part.rollouts]
    packed: PackedBatch = pack([(part.prompt_ids, part.completions) for part in parts], pad)
    advantages = [advantage for part in parts for advantage in part.advantages]
    return {
        **tokens,
        "packed": packed,
        "mask": _padded([torch.ones(len(r.token_ids), dtype=torch.long) for r in rollouts]),
        "advantages": torch.tensor(advantages),
        "engine_logprobs": _padded([torch.tensor(r.logprobs) for r in rollouts]),
    }


def _padded(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)
