"""A model's maximal sequence length, read from its `config.json` without torch or transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from models.packaged import CONFIGS
from models.presets import PRESETS

SCALED_ALREADY = ("llama3", "yarn", "longrope")
"""Rotary types whose `max_position_embeddings` is the length after scaling. For the others it is
multiplied by `factor`."""


def context_of(model: ModelConfig) -> int | None:
    """Maximal positions of a recipe's starting model; None if no readable file gives them."""
    if model.preset is not None:
        return positions(PRESETS[model.preset])
    return context_in(model.upcycle or model.checkpoint or "")


def context_in(name_or_folder: str) -> int | None:
    """Maximal positions of a packaged model, or of the one in a checkpoint folder."""
    packaged = CONFIGS.get(name_or_folder)
    return positions(packaged) if packaged else positions(read_settings(Path(name_or_folder)))


def read_settings(folder: Path, name: str = "config.json") -> Mapping[str, Any]:
    """A JSON object among a checkpoint's files; of a multimodal Llama 4 the text part; empty if
    there is none."""
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(settings, dict):
        return {}
    part = settings.get("text_config")
    return part if settings.get("model_type") == "llama4" and isinstance(part, dict) else settings


def positions(settings: Mapping[str, Any]) -> int | None:
    """The longest sequence that vLLM serves for a model with these settings (its
    `_get_and_verify_max_len`)."""
    length = settings.get("max_position_embeddings")
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    if not isinstance(length, int) or not isinstance(rope, dict):
        return None
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if isinstance(factor, (int, float)) and kind not in SCALED_ALREADY:
        return int(length * factor)
    return length
