"""The tokenizer of a recipe's model, the same that `base` will save with its checkpoint, before there is one."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from models.chat import guard
from models.packaged import PACKAGED, resolve_dense


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a preset with weights, of a packaged model or of a checkpoint folder."""
    if name == "nano":
        from models.nano import nano_tokenizer

        return guard(nano_tokenizer())
    from models.checkpoint import load_tokenizer

    return load_tokenizer(resolve_dense(name) if name in PACKAGED else Path(name))
