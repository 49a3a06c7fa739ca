"""The checkpoint of a policy whose weights are divided among processes: the same folder as that of
a whole one.

The weights are gathered one by one and written in files of at most `SHARD` bytes, so that no
process has room for the whole policy to find."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from models.adapters import policy_weights, weight_shapes
from models.checkpoint import finish
from models.routing import plain
from models.tensors import INDEX

SHARD = 5 * 10**9
"""Bytes of the largest file, unless one tensor has more."""
NAMES = "model{suffix}.safetensors"


def save_sharded_policy(
    policy: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, writes: bool, shard: int = SHARD
) -> None:
    """Write a checkpoint that loads without our code, adapters merged. Call it on every process;
    the one that `writes` holds at most one file's tensors besides its own part."""
    config = plain(policy).config
    shapes = weight_shapes(policy)
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    # Sizes alone decide the division, so every process knows it.
    split = split_torch_state_dict_into_shards(shapes, filename_pattern=NAMES, max_shard_size=shard)
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
    _write(policy, split, folder, writes)
    if not writes:
        return
    if split.is_sharded:
        parameters = sum(tensor.numel() for tensor in shapes.values())
        metadata = {"total_parameters": parameters, **split.metadata}
        index = {"metadata": metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    config.dtype = str(next(iter(shapes.values())).dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    plain(policy).generation_config.save_pretrained(folder)
    finish(tokenizer, folder)


def _write(policy: Any, split: Any, folder: Path, writes: bool) -> None:
    """Gather the weights in their order, and write each file once its last one is there."""
    held: dict[str, dict[str, Tensor]] = {file: {} for file in split.filename_to_tensors}
    for name, tensor in policy_weights(policy):
        file = split.tensor_to_filename.get(name)
        if file is None or not writes:
            continue
        held[file][name] = tensor.detach().cpu().contiguous()
        if len(held[file]) == len(split.filename_to_tensors[file]):
            save_file(held.pop(file), folder / file, metadata={"format": "pt"})
