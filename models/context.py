"""How long a sequence may be for a model, from its `config.json` alone; light, loads neither torch
nor transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from models.packaged import CONFIGS
from models.presets import PRESETS

SCALED_ALREADY = ("llama3", "yarn", "longrope")
"""Rotary types whose `max_position_embeddings` is the length after scaling; of the others `factor`
multiplies it."""


def context_of(model: ModelConfig) -> int | None:
    """Most positions of a recipe's starting model; None where nothing that can be read says
    them."""
    if model.preset is not None:
        return positions(PRESETS[model.preset])
    return context_in(model.upcycle or model.checkpoint or "")


def context_in(name_or_folder: str) -> int | None:
    """Most positions of a packaged model, or of the one in a checkpoint folder."""
    packaged = CONFIGS.get(name_or_folder)
    return positions(packaged) if packaged else positions(read_settings(Path(name_or_folder)))


def read_settings(folder: Path, name: str = "config.json") -> Mapping[str, Any]:
    """A JSON object among a checkpoint's files, of a multimodal Llama 4 its text part; empty where
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
    """The longest sequence that vLLM serves of a model with these settings (its
    `_get_and_verify_max_len`)."""
    found = settings.get("max_position_embeddings")
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    if not isinstance(found, int) or not isinstance(rope, dict):
        return None
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if isinstance(factor, (int, float)) and kind not in SCALED_ALREADY:
        return int(found * factor)
    return found
