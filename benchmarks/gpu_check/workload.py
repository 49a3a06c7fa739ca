"""What the parts compute: a batch of packed groups as an RL step has it, and sequences to learn."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.packed import PackedBatch, pack
from stages.rl.loss import dapo_loss


@dataclass(frozen=True)
class Shape:
    """Groups of equal size with prompts and completions of equal length."""

    groups: int
    completions: int
    prompt: int
    completion: int


SMALL = Shape(groups=2, completions=3, prompt=12, completion=4)
STEP = Shape(groups=8, completions=8, prompt=384, completion=256)
LONG = Shape(groups=2, completions=8, prompt=1024, completion=384)
"""Rows of 4,096 tokens, the longest that are packed."""


@dataclass(frozen=True)
class RlBatch:
    """One forward pass of an RL step: B completions of C tokens."""

    packed: PackedBatch
    advantages_B: Tensor
    mask_BC: Tensor

    @property
    def tokens(self) -> int:
        """Tokens that go through the model, padding included."""
        return self.packed["ids"].numel()


def rl_batch(shape: Shape, vocabulary: int, device: str, seed: int = 0) -> RlBatch:
    """Random tokens; advantages of +1 and -1 in turn; the last completions are shorter."""
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> list[int]:
        ids: list[int] = torch.randint(7, vocabulary, (count,), generator=generator).tolist()
        return ids

    lengths = [
        max(1, shape.completion - number // 2)
        for _ in range(shape.groups)
        for number in range(shape.completions)
    ]
    count = shape.completions
    groups = [
        (some(shape.prompt), [some(n) for n in lengths[g * count : (g + 1) * count]])
        for g in range(shape.groups)
    ]
    rows: Any = pack(groups, 0)
    packed: Any = {name: tensor.to(device) for name, tensor in rows.items()}
    places = torch.arange(packed["targets"].shape[1])
    mask = (places[None] < torch.tensor(lengths)[:, None]).float()
    advantages = torch.tensor([1.0, -1.0]).repeat(len(lengths))[: len(lengths)]
    return RlBatch(packed, advantages.to(device), mask.to(device))


def rl_loss(policy: nn.Module, batch: RlBatch) -> Tensor:
    """The loss of an RL step, from one call of the policy's forward."""
    logprobs, _ = policy(packed=batch.packed)
    mask = batch.mask_BC
    return dapo_loss(logprobs, logprobs.detach(), batch.advantages_B, mask, mask.sum())[0]


def sft_loss(policy: nn.Module, ids: Tensor) -> Tensor:
    """The mean loss over the next tokens of whole sequences."""
    loss: Tensor = policy(input_ids=ids, labels=ids, use_cache=False).loss
    return loss


def sequences(rows: int, length: int, vocabulary: int, device: str, seed: int) -> Tensor:
    """Token ids (rows, length) in equal steps, a step a row: a model learns in seconds to be sure
    of the next one."""
    generator = torch.Generator().manual_seed(seed)
    size = min(vocabulary, 100) - 7
    first = torch.randint(0, size, (rows, 1), generator=generator)
    step = torch.randint(1, 6, (rows, 1), generator=generator)
    return ((first + step * torch.arange(length)) % size + 7).to(device)


def taught(policy: nn.Module, steps: int, vocabulary: int, device: str) -> list[float]:
    """Teach `sequences` with AdamW; the loss of every step."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = sft_loss(policy, sequences(32, 48, vocabulary, device, step))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
