"""Proof that the rollouts come from the weights that train: engine against trainer, token by
token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import RunFailed
from models.routing import differing, moe_layers, routing


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference of log-probabilities over tokens."""

    mean: float
    """Mean absolute difference, in nats."""
    largest: float
    """Largest absolute difference, in nats."""
    engine: float
    """Mean log-probability that the engine gave."""
    trainer: float
    """Mean log-probability that the trainer gave."""
    tokens: int
    """How many tokens were compared."""


def gap(engine: Tensor, trainer: Tensor) -> Gap:
    """Compare two flat tensors of log-probabilities of the same tokens."""
    difference = (engine - trainer).abs()
    return Gap(
        difference.mean().item(),
        difference.max().item(),
        engine.mean().item(),
        trainer.mean().item(),
        engine.numel(),
    )


def require(found: Gap, tolerance: float, when: str) -> None:
    """RunFailed when the mean gap is past the tolerance or not a number."""
    if not found.mean <= tolerance:
        raise RunFailed(
            f"parity check failed {when}: mean absolute log-probability gap {found.mean:.3g} over"
            f" {found.tokens} tokens is past the tolerance {tolerance:g} (engine mean"
            f" {found.engine:.6f}, trainer mean {found.trainer:.6f}, largest gap"
            f" {found.largest:.3g})",
            "the rollouts do not come from the weights that train: use `rollouts: {dtype:"
            " float32}`; if they are, report this with the stage's log",
        )


@torch.no_grad()
def trainer_logprobs(
    policy: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> Tensor:
    """Log-probability of every completion token after its prompt under the trainer's policy,
    flat."""
    was_training = policy.training
    policy.eval()
    flat = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion], device=next(policy.parameters()).device)
        logits = policy(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        flat.append(logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0])
    policy.train(was_training)
    return torch.cat(flat).cpu()


def check(
    engine: Any, policy: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> Gap:
    """The gap between engine and policy on given sequences (token ids)."""
    scored = [value for row in engine.score(prompts, completions) for value in row]
    return gap(torch.tensor(scored), trainer_logprobs(policy, prompts, completions))


def experts_differ(
    engine: Any, policy: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> float | None:
    """Share of (MoE layer, token) pairs on given sequences whose experts differ between engine and
    policy.

    None where the engine cannot tell, or where there are no experts.
    """
    sequences = [
        prompt + completion for prompt, completion in zip(prompts, completions, strict=True)
    ]
    chosen = engine.routing(sequences) if moe_layers(policy) else None
    return None if chosen is None else differing(chosen, routing(policy, sequences))
