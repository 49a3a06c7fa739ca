"""The checkpoint of a policy whose weights are divided among processes: the same folder as that of
a whole one.

The weights are gathered one by one, and each goes to its place in its file at once. safetensors'
own writer wants all tensors of a file together: no process would have room for them. The format is
a length of 8 bytes, a JSON header of that length and the tensors' bytes, type by type, in the order
of their names (https://github.com/huggingface/safetensors#format)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from models.adapters import policy_weights, weight_shapes
from models.checkpoint import finish
from models.routing import plain
from models.tensors import INDEX

SHARD = 5 * 10**9
"""Bytes of the largest file, unless one tensor has more."""
NAMES = "model{suffix}.safetensors"
TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""Their names in a header, in the order in which their tensors lie."""


def save_sharded_policy(
    policy: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, writes: bool, shard: int = SHARD
) -> None:
    """Write a checkpoint that loads without our code, adapters merged. Call it on every process;
    the one that `writes` holds one whole tensor at a time besides its own part."""
    config = plain(policy).config
    shapes = weight_shapes(policy)
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    split = split_torch_state_dict_into_shards(shapes, filename_pattern=NAMES, max_shard_size=shard)
    files: dict[str, TensorFile] = {}
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        for file, names in split.filename_to_tensors.items():
            files |= dict.fromkeys(names, TensorFile(folder / file, {n: shapes[n] for n in names}))
    for name, tensor in policy_weights(policy):
        if name in files:
            files[name].put(name, tensor)
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


class TensorFile:
    """A safetensors file whose tensors come one by one, in any order."""

    def __init__(self, path: Path, shapes: Mapping[str, Tensor]) -> None:
        """Write the header; `shapes` has the shape and type of each tensor."""
        self.path = path
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        order = list(TYPES)
        for name in sorted(shapes, key=lambda name: (order.index(shapes[name].dtype), name)):
            start, end = end, end + shapes[name].nbytes
            kind, shape = TYPES[shapes[name].dtype], list(shapes[name].shape)
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        self.begin = 8 + len(text)
        self.places = {name: header[name]["data_offsets"][0] for name in shapes}

    def put(self, name: str, tensor: Tensor) -> None:
        """Write a tensor to its place."""
        data: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        with self.path.open("r+b") as handle:
            handle.seek(self.begin + self.places[name])
            handle.write(data)
