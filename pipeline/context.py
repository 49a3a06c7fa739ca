"""How long a sequence a model can read, as far as its `config.json` says it. Loads nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from models.packaged import CONFIGS
from models.presets import PRESETS


def context_of(model: ModelConfig) -> int | None:
    """The longest sequence that vLLM lets the model read, in tokens; None where nothing that can be read says it."""
    if model.preset is not None:
        return _positions(PRESETS[model.preset])
    place = model.upcycle or model.checkpoint
    assert place is not None  # the config has seen to it
    return _positions(CONFIGS[place]) if place in CONFIGS else folder_context(Path(place))


def folder_context(folder: Path) -> int | None:
    """The same of a checkpoint folder; of a multimodal one that of its text model."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return _positions(config.get("text_config") or config)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # the loader says what is wrong with it
        return None


def _positions(config: Mapping[str, Any]) -> int | None:
    """`max_position_embeddings`, times the factor of those rotary types that do not count it in already."""
    positions = config.get("max_position_embeddings")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaled = rope.get("rope_type", rope.get("type")) in ("linear", "dynamic")
    factor = rope.get("factor") if scaled else 1
    return int(positions * factor) if isinstance(positions, int) and isinstance(factor, int | float) else None
