"""Prompts with completions as the packed forward pass takes them, and a nano policy to compute them
with."""

from models.nano import nano_model, nano_tokenizer

POLICY = nano_model(nano_tokenizer(), seed=3).train()
