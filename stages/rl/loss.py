"""The loss of an RL step: DAPO (Yu et al. 2025, arXiv:2503.14476), with an optional KL term.

The floating-point operations and their order are those of TRL's `GRPOTrainer` with
`loss_type="dapo"` and `use_bias_correction_kl=True`; `tests/stages/test_rl_loss.py` holds loss and
gradient to TRL's. TRL has them in a private method of its trainer only, so they are written here.
"""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

CLIP = 0.2
"""The importance ratio is clipped to 1 - CLIP .. 1 + CLIP. In an on-policy step the ratio is 1 and
nothing is clipped."""
LARGEST_WEIGHT = 2.0
"""Bound of a truncated importance weight, as in TRL (`vllm_importance_sampling_cap`)."""


def dapo_loss(
    logprobs_BC: Tensor,
    old_logprobs_BC: Tensor,
    advantages_B: Tensor,
    mask_BC: Tensor,
    tokens: Tensor,
    reference_BC: Tensor | None = None,
    kl_weight: float = 0.0,
    weights_BC: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The loss of one forward pass (a scalar), and the KL term at each token (B, C) where there is
    a reference.

    B completions of at most C tokens; `mask_BC` is 1 at their tokens. With the ratio
    r = exp(logprobs - old_logprobs) and the advantage A of the completion, the loss is

        sum over tokens of (-min(r A, clip(r) A) + kl_weight * KL) / tokens,

    each term times its `weights_BC`, where given. `tokens` (a scalar tensor) counts the completion
    tokens of the whole optimiser step, so that the losses of its passes add up to the loss of the
    step.

    The KL term is the estimator k3 (Schulman, "Approximating KL divergence", 2020) of
    KL(policy || reference), times r: exp(d) - d - 1 with d = reference - logprobs. The factor r is
    1 in an on-policy step, and makes the gradient that of this KL; k3 alone has the gradient of the
    reverse (DeepSeek-V3.2, arXiv:2512.02556, section 3.1)."""
    advantages_B1 = advantages_B.unsqueeze(1)
    ratio = torch.exp(logprobs_BC - old_logprobs_BC)
    kl = None
    if reference_BC is not None:
        kl = torch.exp(reference_BC - logprobs_BC) - (reference_BC - logprobs_BC) - 1
        kl = kl * ratio
    clipped = torch.clamp(ratio, 1 - CLIP, 1 + CLIP)
    per_token = -torch.min(ratio * advantages_B1, clipped * advantages_B1)
    if kl is not None:
        per_token = per_token + kl_weight * kl
    if weights_BC is not None:
        per_token = per_token * weights_BC
    loss = (per_token * mask_BC).sum() / tokens.clamp(min=1.0)
    return loss, None if kl is None else kl.detach()


def importance(logprobs_BC: Tensor, engine_BC: Tensor) -> Tensor:
    """The importance ratio of each token (B, C), without gradient: its probability under the policy
    over that under the policy that sampled it."""
    return torch.exp(logprobs_BC.detach() - engine_BC)


def no_loss(model: torch.nn.Module) -> Tensor:
    """A zero that the optimiser can step on, for a step without groups to train on. No process
    calls the model's forward in such a step, so DDP and FSDP2 have nothing to wait for."""
    trained = next(p for p in model.parameters() if p.requires_grad)
    return local(trained).sum() * 0.0


def local(parameter: Tensor) -> Tensor:
    """This process's part of a parameter that FSDP2 has divided."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
