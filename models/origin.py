"""A model's chat format, read without its weights: tokenizer, template, end tokens, context."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from common.errors import BadInput
from models.chat import guard
from models.checkpoint import load_tokenizer, model_type
from models.config import ModelConfig, is_template
from models.context import positions, read_settings
from models.packaged import resolve_dense
from models.presets import PRESETS


@dataclass(frozen=True)
class ChatFormat:
    """A model's tokenizer, and the settings of its config that affect chats."""

    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]
    """Token ids at which the engine stops: the tokenizer's end token and those of
    `generation_config.json`."""
    context: int | None
    """Maximal positions; None if the config does not give them."""


def chat_format_of(model: ModelConfig) -> ChatFormat:
    """The chat format of a recipe's starting model. Raises BadInput if it has none."""
    tokenizer = tokenizer_of(model)
    if model.preset is not None:
        return ChatFormat(
            tokenizer, frozenset({tokenizer.eos_token_id}), positions(PRESETS[model.preset])
        )
    return _chat_format(origin_folder(model), tokenizer)


def tokenizer_of(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a recipe's model. It equals the one that `base` will save with its
    checkpoint."""
    if model.preset is None:
        return origin_tokenizer(model, origin_folder(model))
    from models.nano import nano_tokenizer

    return guard(nano_tokenizer())


def judge_chat_format(name_or_folder: str) -> ChatFormat:
    """The chat format of a dense model, as its files give it."""
    folder = resolve_dense(name_or_folder)
    return _chat_format(folder, load_tokenizer(folder))


def origin_folder(model: ModelConfig) -> Path:
    """The checkpoint folder that a recipe's model comes from."""
    return (
        resolve_dense(model.upcycle) if model.upcycle is not None else Path(model.checkpoint or "")
    )


def origin_tokenizer(model: ModelConfig, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, with the recipe's pad token and chat template if given."""
    return load_tokenizer(folder, pad_token=model.pad_token, chat_template=_template(model))


def _template(model: ModelConfig) -> str | None:
    """The recipe's chat template as text."""
    given = model.chat_template
    return given if given is None or is_template(given) else Path(given).read_text(encoding="utf-8")


def _chat_format(folder: Path, tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    model_type(folder)  # raises unless it is a checkpoint
    settings = read_settings(folder)
    require_embeddings(tokenizer, settings.get("vocab_size"), folder)
    generation = read_settings(folder, "generation_config.json")
    ends = generation.get("eos_token_id", settings.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    stop_ids = frozenset({tokenizer.eos_token_id, *ends} - {None})
    return ChatFormat(tokenizer, stop_ids, positions(settings))


def require_embeddings(tokenizer: PreTrainedTokenizerBase, vocabulary: Any, folder: Path) -> None:
    """Raise BadInput if the tokenizer has tokens without an embedding in the model."""
    if isinstance(vocabulary, int) and len(tokenizer) > vocabulary:
        raise BadInput(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeddings for"
            f" {vocabulary}",
            "give the folder the tokenizer that its model was trained with",
        )
