"""How a model is spoken to before any of its weights are read: tokenizer, chat template, what ends
its answers."""

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
class Speech:
    """A model's tokenizer, and what of its config decides how chats with it go."""

    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]
    """Token ids at which the engine stops: the tokenizer's end token and those of
    `generation_config.json`."""
    context: int | None
    """Most positions; None where the config does not say."""


def speech_of(model: ModelConfig) -> Speech:
    """That of a recipe's starting model. BadInput for what cannot be spoken to."""
    tokenizer = tokenizer_of(model)
    if model.preset is not None:
        return Speech(
            tokenizer, frozenset({tokenizer.eos_token_id}), positions(PRESETS[model.preset])
        )
    return _speech(origin_folder(model), tokenizer)


def tokenizer_of(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a recipe's model, the same that `base` saves with its checkpoint, before
    there is one."""
    if model.preset is None:
        return origin_tokenizer(model, origin_folder(model))
    from models.nano import nano_tokenizer

    return guard(nano_tokenizer())


def speech_of_judge(name_or_folder: str) -> Speech:
    """That of a dense model as its files have it."""
    folder = resolve_dense(name_or_folder)
    return _speech(folder, load_tokenizer(folder))


def origin_folder(model: ModelConfig) -> Path:
    """The checkpoint folder that a recipe's model comes from."""
    return (
        resolve_dense(model.upcycle) if model.upcycle is not None else Path(model.checkpoint or "")
    )


def origin_tokenizer(model: ModelConfig, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a recipe's model: that in `folder` with what the recipe gives in place of
    its own."""
    return load_tokenizer(folder, pad_token=model.pad_token, chat_template=_template(model))


def _template(model: ModelConfig) -> str | None:
    """The recipe's chat template as text."""
    given = model.chat_template
    return given if given is None or is_template(given) else Path(given).read_text(encoding="utf-8")


def _speech(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Speech:
    model_type(folder)  # refuses what is no checkpoint
    settings = read_settings(folder)
    require_embeddings(tokenizer, settings.get("vocab_size"), folder)
    said = read_settings(folder, "generation_config.json").get(
        "eos_token_id", settings.get("eos_token_id")
    )
    listed = said if isinstance(said, list) else [said]
    return Speech(
        tokenizer, frozenset({tokenizer.eos_token_id, *listed} - {None}), positions(settings)
    )


def require_embeddings(tokenizer: PreTrainedTokenizerBase, vocabulary: Any, folder: Path) -> None:
    """BadInput when the tokenizer has tokens that the model has no embedding for."""
    if isinstance(vocabulary, int) and len(tokenizer) > vocabulary:
        raise BadInput(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeddings for"
            f" {vocabulary}",
            "give the folder the tokenizer that its model was trained with",
        )
