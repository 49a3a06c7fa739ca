"""The tokenizer of a recipe's model, the same that `base` will save with its checkpoint, before there is one."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from models.chat import guard
from models.config import ModelConfig
from models.packaged import resolve_dense


def tokenizer_of(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of the preset `nano`, of a packaged model or of a checkpoint folder."""
    if model.preset is not None:
        from models.nano import nano_tokenizer

        return guard(nano_tokenizer())
    from models.checkpoint import load_tokenizer

    return load_tokenizer(resolve_dense(model.upcycle) if model.upcycle is not None else Path(model.checkpoint or ""))
