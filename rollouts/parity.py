"""Proof that rollouts come from the weights that train: log-probabilities of the engine against
those of the trainer, token by token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from common.errors import RunFailed
from rollouts.interface import RolloutEngine, SeveralCopies


@dataclass(frozen=True, slots=True)
class LogprobGap:
    """Difference between engine and trainer over tokens, in nats."""

    mean: float
    """Mean absolute difference."""
    largest: float
    """Largest absolute difference."""
    engine: float
    """Mean log-probability under the engine."""
    trainer: float
    """Mean log-probability under the trainer."""
    tokens: int
    """How many tokens were compared."""
    place: str = ""
    """Which of several servers was compared; empty for one engine."""


def gap(engine: Tensor, trainer: Tensor) -> LogprobGap:
    """The gap between two flat tensors of log-probabilities of the same tokens."""
    difference = (engine - trainer).abs()
    return LogprobGap(
        difference.mean().item(),
        difference.max().item(),
        engine.mean().item(),
        trainer.mean().item(),
        engine.numel(),
    )


def require(measured: LogprobGap, tolerance: float, when: str) -> None:
    """RunFailed when the mean gap is past the tolerance or not a number; `when` says after what."""
    if not measured.mean <= tolerance:
        raise RunFailed(
            f"parity check failed {when}{measured.place}: mean absolute log-probability gap"
            f" {measured.mean:.3g} over {measured.tokens} tokens is past the tolerance"
            f" {tolerance:g} (engine mean {measured.engine:.6f}, trainer mean"
            f" {measured.trainer:.6f}, largest gap {measured.largest:.3g})",
            "the rollouts do not come from the weights that train: use `rollouts: {dtype:"
            " float32}`; if they are, report this with the stage's log",
        )


@torch.no_grad()
def trainer_logprobs(
    policy: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> Tensor:
    """Log-probability of every completion token (token ids) after its prompt under the trainer's
    policy: flat, float32, on the CPU."""
    was_training = policy.training
    policy.eval()
    rows = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion], device=next(policy.parameters()).device)
        logits = policy(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        rows.append(logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0])
    policy.train(was_training)
    return torch.cat(rows).cpu()


def check(
    engine: RolloutEngine,
    policy: nn.Module,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
) -> LogprobGap:
    """The gap between engine and policy on given sequences (token ids): the largest one where
    several copies of the policy answer."""
    trainer = trainer_logprobs(policy, prompts, completions)
    if not isinstance(engine, SeveralCopies):
        return gap(_flat(engine.score(prompts, completions)), trainer)
    gaps = [
        replace(gap(_flat(rows), trainer), place=f" on server {number}")
        for number, rows in enumerate(engine.score_each(prompts, completions))
    ]
    return max(gaps, key=lambda one: math.inf if math.isnan(one.mean) else one.mean)


def _flat(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor([value for row in rows for value in row])
