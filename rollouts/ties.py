"""Near ties of routers: where engine and trainer may choose different experts with equal weights.

Both compute a router's logits up to the order of sums. Where the two largest are equal up to that,
each may choose another expert, and from there on the log-probabilities differ by much more than
rounding. Such a gap says nothing about the weights. Before a gap is held against the engine, the
near ties of the trainer's forward pass are decided the other way: if that gives the engine's
log-probabilities, they are the explanation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from models.packed import pack
from models.routing import Place, decided
from rollouts import parity
from rollouts.interface import RolloutEngine

MOST = 4
"""Ties in one sequence that are decided the other way at most."""


@torch.no_grad()
def without(
    policy: nn.Module,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    engine: parity.Rows,
    limit: float,
    **sampling: Any,
) -> parity.LogprobGap:
    """The gap that near ties do not explain, over given sequences (token ids).

    `engine` has the log-probabilities of the completion tokens, `limit` is the mean gap that is
    rounding, and `sampling` what the packed forward takes. Forward passes of single sequences, so
    only for gaps that are past the limit."""
    was_training = policy.training
    policy.eval()
    trainer = [
        _decided(policy, prompt, completion, torch.tensor(row), limit, sampling)
        for prompt, completion, row in zip(prompts, completions, engine, strict=True)
    ]
    policy.train(was_training)
    flat = torch.tensor([value for row in engine for value in row])
    return replace(parity.gap(flat, torch.cat(trainer)), ties_ruled_out=True)


def of_engine(
    engine: RolloutEngine,
    policy: nn.Module,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    limit: float,
) -> parity.LogprobGap:
    """`without` for what an engine says of sequences: the largest gap of its copies."""
    return parity.largest(
        engine,
        prompts,
        completions,
        lambda rows: without(policy, prompts, completions, rows, limit),
    )


def can_explain(policy: nn.Module) -> bool:
    """Whether one process can compute with the policy alone."""
    return not isinstance(policy, FSDPModule)


def _decided(
    policy: nn.Module,
    prompt: list[int],
    completion: list[int],
    engine: Tensor,
    limit: float,
    sampling: dict[str, Any],
) -> Tensor:
    """The trainer's log-probabilities of a completion, with its near ties decided such that they
    come closest to the engine's."""

    def computed(other_way: frozenset[Place]) -> tuple[float, Tensor, frozenset[Place]]:
        with decided(policy, other_way) as ties:
            logprobs = _logprobs(policy, prompt, completion, engine, sampling)
        return (logprobs - engine).abs().mean().item(), logprobs, frozenset(ties)

    other_way = frozenset[Place]()
    gap, logprobs, ties = computed(other_way)
    while gap > limit and len(other_way) < MOST:
        tried = [
            (computed(other_way | {tie}), other_way | {tie}) for tie in sorted(ties - other_way)
        ]
        closest = min(tried, key=lambda one: one[0][0], default=None)
        if closest is None or closest[0][0] >= gap:
            break
        (gap, logprobs, ties), other_way = closest
    return logprobs


def _logprobs(
    policy: nn.Module,
    prompt: list[int],
    completion: list[int],
    engine: Tensor,
    sampling: dict[str, Any],
) -> Tensor:
    device = next(policy.parameters()).device
    packed: Any = pack([(prompt, [completion])], 0)
    packed = {name: value.to(device) for name, value in packed.items()}
    found = policy(packed=packed, engine_logprobs=engine[None].to(device), **sampling)
    row: Tensor = found.logprobs[0].float().cpu()
    return row
