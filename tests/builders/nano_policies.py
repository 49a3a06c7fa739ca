"""Nano policies and token ids for them."""

import torch

from models.nano import nano_model, nano_tokenizer

TOKENIZER = nano_tokenizer()


def nano(seed=0):
    return nano_model(TOKENIZER, seed)


def some_ids(rows=2, length=30):
    """Random token ids: (rows, length)."""
    return torch.randint(7, 100, (rows, length), generator=torch.Generator().manual_seed(0))
