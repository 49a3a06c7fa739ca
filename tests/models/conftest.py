"""Checkpoint folders of small models."""

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from builders.nano_policies import TOKENIZER
from builders.nano_policies import nano as nano_policy
from models.checkpoint import save_policy


@pytest.fixture
def nano(tmp_path):
    """A nano checkpoint folder."""
    save_policy(nano_policy(seed=3), TOKENIZER, tmp_path / "nano")
    return tmp_path / "nano"


@pytest.fixture
def dense(tmp_path):
    """A dense Llama checkpoint folder."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"
