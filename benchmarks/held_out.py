"""The probability that a policy gives held-out prompts their reference answers: a pass rate without
sampling noise."""

import math
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from rollouts.interface import Rollout
from stages.rl.packed import logprobs_and_entropies, pack
from stages.rl.passes import Part


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
        parts = [
            Part(ids, [Rollout(answer, [], "", "stop")], [0.0])
            for ids, answer in zip(asked[part], answers[part], strict=True)
        ]
        padded = pad_sequence([torch.tensor(answer) for answer in answers[part]], batch_first=True)
        logprobs, _ = logprobs_and_entropies(policy, pack(parts, 0), padded, 1.0)
        lengths = map(len, answers[part])
        probabilities += [
            math.exp(row[:length].sum().item())
            for row, length in zip(logprobs, lengths, strict=True)
        ]
    policy.train(was_training)
    return probabilities
