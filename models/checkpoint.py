"""Checkpoint folders: safetensors, config, tokenizer; loadable by plain transformers and by plain vLLM."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from common.errors import BadInput
from models.moe import MoeForCausalLM


def require_checkpoint(folder: Path) -> None:
    """BadInput unless `folder` looks like a safetensors checkpoint."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: no config.json", "name a Hugging Face checkpoint folder")
    if not any(folder.glob("*.safetensors")):
        raise BadInput(f"{folder}: no *.safetensors weights", "convert the weights to safetensors; pickle is refused")


def load_policy(folder: Path, dtype: torch.dtype = torch.float32) -> MoeForCausalLM:
    """The Llama 4 text model in `folder`. A missing, unexpected or wrongly shaped tensor is an error naming it."""
    require_checkpoint(folder)
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "llama4_text":
        raise BadInput(
            f"{folder}: model type {config.model_type!r} is not llama4_text",
            "start from it with `model: {upcycle: FOLDER}`",
        )
    return load_whole(MoeForCausalLM, folder, config, dtype)


def load_whole(kind: Any, folder: Path, config: Any, dtype: torch.dtype = torch.float32) -> Any:
    """A model of class `kind` with every tensor from the safetensors in `folder`; BadInput names what does not fit."""
    model, info = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
        use_safetensors=True,
        # Not ignored: reported with the others below, where transformers would raise an error without a name.
        ignore_mismatched_sizes=True,
    )
    for what in ("missing", "unexpected", "mismatched"):
        if names := sorted(map(str, info[f"{what}_keys"])):
            raise BadInput(f"{folder}: {what} tensors: {', '.join(names[:5])}", "repair the checkpoint folder")
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, which must know how to render a chat and how to pad."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None or tokenizer.pad_token_id is None:
        raise BadInput(f"{folder}: the tokenizer lacks a chat template or a pad token", "add them to the tokenizer")
    return tokenizer


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a checkpoint that needs no code of ours to be loaded. `model` is a plain, adapter-free policy."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["architectures"] = ["Llama4ForCausalLM"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
