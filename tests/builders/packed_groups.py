"""Groups as the packed forward pass takes them, and a nano policy to compute them with."""

import torch

from models.nano import nano_model, nano_tokenizer
from rollouts.interface import Rollout
from stages.rl.passes import Part

POLICY = nano_model(nano_tokenizer(), seed=3).train()


def group(prompt, completions):
    return Part(
        prompt,
        [Rollout(ids, [0.0] * len(ids), "", "stop") for ids in completions],
        [0.0] * len(completions),
    )


def padded(groups):
    rows = [torch.tensor(completion) for one in groups for completion in one.completions]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
