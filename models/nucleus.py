"""The distribution that top-p sampling draws from, in the trainer as in the engine.

A token can be drawn while the probabilities of those above it add up to less than `top_p`; the
probabilities of the tokens that can be drawn are renormalised (nucleus sampling, Holtzman et al.
2020, arXiv:1904.09751). Rollouts come from that distribution, so policy gradient and parity check
need its log-probabilities. Those of the whole vocabulary differ by the logarithm of the kept
probability. The set of tokens is a constant in the gradient (DeepSeek-V3.2 keeps the engine's set,
arXiv:2512.02556, section 3.1)."""

import torch
from torch import Tensor

SLACK = 2e-5
"""Difference of a sum of probabilities that rounding may cause between engine and trainer. Where a
token is in or out by less than that, the trainer follows the engine. It does so nowhere else, as
the parity check would then prove nothing."""


def truncated(logits_NV: Tensor, targets_N: Tensor, top_p: float, engine_N: Tensor) -> Tensor:
    """Logits (N, V), temperature included, with the tokens that cannot be drawn at the lowest
    number.

    `targets_N` are the tokens that were drawn, `engine_N` their log-probabilities in the engine. A
    target that could not have been drawn is kept and has a finite log-probability. The parity check
    finds it; padding is masked."""
    with torch.no_grad():
        sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True)
        probs_NV = sorted_NV.softmax(-1)
        above_NV = probs_NV.cumsum(-1) - probs_NV
        target_NV = order_NV == targets_N[:, None]
        narrow_NV, wide_NV = (
            _kept(above_NV, bound, target_NV) for bound in (top_p - SLACK, top_p + SLACK)
        )
        narrow_gap_N, wide_gap_N = (
            (_logprob(probs_NV, kept_NV, target_NV) - engine_N).abs()
            for kept_NV in (narrow_NV, wide_NV)
        )
        kept_NV = torch.where((wide_gap_N < narrow_gap_N)[:, None], wide_NV, narrow_NV)
        left_out_NV = torch.empty_like(kept_NV).scatter_(-1, order_NV, ~kept_NV)
    return logits_NV.masked_fill(left_out_NV, torch.finfo(logits_NV.dtype).min)


def _kept(above_NV: Tensor, bound: float, target_NV: Tensor) -> Tensor:
    """Which sorted tokens are kept: those with less than `bound` above them, the likeliest, and the
    target."""
    kept_NV = (above_NV < bound) | target_NV
    kept_NV[:, 0] = True
    return kept_NV


def _logprob(probs_NV: Tensor, kept_NV: Tensor, target_NV: Tensor) -> Tensor:
    """The target's log-probability among the kept tokens (N,)."""
    return ((probs_NV * target_NV).sum(-1) / (probs_NV * kept_NV).sum(-1)).log()
