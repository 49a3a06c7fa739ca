"""The probability that a policy gives held-out prompts their reference answers: a pass rate without
sampling noise."""

import math
from typing import Any

import torch

from models.packed import PromptCompletions, pack


@torch.no_grad()
def answer_probabilities(
    policy: Any, asked: list[list[int]], answers: list[list[int]], rows: int
) -> list[float]:
    """Probability of each answer right after its prompt. Both are token ids, the answer with its
    end token; `rows` are computed per forward pass."""
    was_training, probabilities = policy.training, list[float]()
    policy.eval()
    for start in range(0, len(asked), rows):
        part = slice(start, start + rows)
        pairs: list[PromptCompletions] = [
            (ids, [answer]) for ids, answer in zip(asked[part], answers[part], strict=True)
        ]
        logprobs, _ = policy(packed=pack(pairs, 0))
        lengths = map(len, answers[part])
        probabilities += [
            math.exp(row[:length].sum().item())
            for row, length in zip(logprobs, lengths, strict=True)
        ]
    policy.train(was_training)
    return probabilities
