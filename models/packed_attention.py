"""Attention over packed rows without a mask of the whole row.

Two calls of the usual kernel take the place of one with a dense mask: prompts attend to themselves
causally, without a mask, and each completion attends to its prompt and itself. The scores of two
completions of a row, which the mask would hide, are not computed. Results are equal to those of the
dense mask but for the last bits (`tests/models/test_packed_attention.py`).

Rows with one completion each are causal as they are. On a CPU the dense mask stays, and with it the
bytes of earlier runs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "uphill_packed"
"""Name of this attention in transformers' registry. Of other masks than `SharedPrompts` it makes
what "sdpa" makes."""


@dataclass(frozen=True, eq=False)
class SharedPrompts:
    """Who looks at whom in R packed rows of length L with B completions of at most C tokens."""

    prompt: int
    """P, the longest prompt: that many columns of each row attend causally."""
    row_B: Tensor
    """Row of each completion; empty if all rows are causal as they are."""
    queries_BC: Tensor
    """Place in the row of each completion token; L for padding."""
    keys_BK: Tensor
    """Places that a completion may look at: those of its prompt (P), then its own (C)."""
    seen_B1CK: Tensor
    """Which of them each of its tokens looks at."""


def shared_prompts(owner_RL: Tensor, row_B: Tensor, width: int) -> SharedPrompts:
    """The layout of packed rows with completions of at most `width` tokens (`PackedBatch`)."""
    device, length = owner_RL.device, owner_RL.shape[1]
    if len(row_B) == len(owner_RL):
        nothing = torch.empty(0, 0, dtype=torch.long, device=device)
        return SharedPrompts(length, row_B[:0], nothing, nothing, nothing.bool())
    prompts_R = (owner_RL == 0).sum(1)
    prompt = int(prompts_R.max())
    # Completions of a row follow one another, and are numbered from 1.
    number_B = torch.arange(len(row_B), device=device) - torch.searchsorted(row_B, row_B) + 1
    mine_BL = owner_RL[row_B] == number_B[:, None]
    start_B, length_B = mine_BL.int().argmax(1), mine_BL.sum(1)
    places_C = torch.arange(width, device=device)
    real_BC = places_C < length_B[:, None]
    queries_BC = torch.where(real_BC, start_B[:, None] + places_C, length)
    before_P = torch.arange(prompt, device=device)
    keys_BK = torch.cat([before_P.expand(len(row_B), -1), queries_BC.clamp(max=length - 1)], 1)
    seen_BP = before_P < prompts_R[row_B][:, None]
    # Padding comes after a completion's tokens, so none of them looks at it.
    earlier_CC = places_C[:, None] >= places_C
    both = seen_BP[:, None].expand(-1, width, -1), earlier_CC.expand(len(row_B), -1, -1)
    seen_B1CK = torch.cat(both, dim=2)[:, None]
    return SharedPrompts(prompt, row_B, queries_BC, keys_BK, seen_B1CK)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    **settings: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (R, heads, L, width of a head) to (R, L, heads, width)."""
    if not isinstance(attention_mask, SharedPrompts):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    shared, length = attention_mask, query.shape[2]
    first = (tensor[:, :, : shared.prompt] for tensor in (query, key, value))
    leading, _ = sdpa_attention_forward(module, *first, None, **{**settings, "is_causal": True})
    if not len(shared.row_B):
        return leading, None
    rows_B1 = shared.row_B[:, None]
    chosen = [
        tensor.transpose(1, 2)[rows_B1, places].transpose(1, 2)
        for tensor, places in (
            (query, shared.queries_BC.clamp(max=length - 1)),
            (key, shared.keys_BK),
            (value, shared.keys_BK),
        )
    ]
    own, _ = sdpa_attention_forward(module, *chosen, shared.seen_B1CK, **settings)
    # The last column takes what padding computes, and is left out.
    result = own.new_zeros(len(query), length + 1, *own.shape[2:])
    result[:, : shared.prompt] = leading
    result = result.index_put((rows_B1, shared.queries_BC), own)
    return result[:, :length], None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
