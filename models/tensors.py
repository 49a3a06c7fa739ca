"""The tensors in a checkpoint folder's safetensors, read from the headers alone.

Names, shapes and types are compared with the model's before anything is loaded: a folder of a
hundred gigabytes is refused in a second, and the message names the tensors that do not fit. Pickle
is never opened.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.errors import BadInput

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
AGAIN = "download or copy the folder again"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as described in its file's header."""

    shape: tuple[int, ...]
    dtype: str
    """Name of the type in safetensors, such as `BF16`."""
    file: Path


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor in the weight files that transformers would load from `folder`, by name."""
    tensors: dict[str, StoredTensor] = {}
    for file in _weight_files(folder):
        for name, stored in _header(file):
            if name in tensors:
                raise BadInput(
                    f"{folder}: tensor {name} is in {tensors[name].file.name} and in {file.name}",
                    AGAIN,
                )
            tensors[name] = stored
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    """The single weight file, or the shards that the index names. As in transformers, the single
    file has precedence."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        raise BadInput(
            f"{folder}: neither {SINGLE} nor {INDEX}", "save the model with `save_pretrained`"
        )
    try:
        shards = sorted(
            set(map(str, json.loads((folder / INDEX).read_text())["weight_map"].values()))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{folder / INDEX}: not an index of weight files: {error!r}", AGAIN
        ) from None
    if absent := [shard for shard in shards if not (folder / shard).is_file()]:
        raise BadInput(
            f"{folder}: {INDEX} names files that are not there: {', '.join(absent[:5])}", AGAIN
        )
    return [folder / shard for shard in shards]


def _header(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    try:
        with safe_open(file, framework="pt") as handle:
            for name in sorted(handle.keys()):
                part = handle.get_slice(name)
                yield name, StoredTensor(tuple(part.get_shape()), part.get_dtype(), file)
    except (SafetensorError, OSError) as error:
        # A truncated file fails here, as its header has the length; so does a pointer of git LFS.
        raise BadInput(f"{file}: cannot be read as safetensors: {error}", AGAIN) from None


def require_fit(folder: Path, stored: dict[str, StoredTensor], model: Any, part: str = "") -> None:
    """Raise BadInput unless `stored` has exactly the tensors of `model` with their shapes, named
    with the prefix `part`."""
    wanted = {f"{part}{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # Tied weights are mostly stored once. A second copy must be equal.
    tied = {f"{part}lm_head.weight"} if model.config.tie_word_embeddings else set()
    wrong = {
        "missing": [name for name in wanted if name not in stored and name not in tied],
        "unexpected": [name for name in stored if name not in wanted],
        "mismatched": [
            f"{name}: checkpoint {stored[name].shape}, model {shape}"
            for name, shape in wanted.items()
            if name in stored and stored[name].shape != shape
        ],
        "quantised": [
            f"{name} ({tensor.dtype})"
            for name, tensor in stored.items()
            if tensor.dtype not in FLOATS
        ],
    }
    if problems := [f"{what} tensors: {_listed(names)}" for what, names in wrong.items() if names]:
        raise BadInput(
            f"{folder}: {'; '.join(problems)}",
            "the weights must be those that its config.json describes",
        )
    for head in tied & stored.keys():
        _require_tied(folder, stored, head, f"{part}model.embed_tokens.weight")


def _require_tied(
    folder: Path, stored: dict[str, StoredTensor], head: str, embeddings: str
) -> None:
    if not torch.equal(_read(stored, head), _read(stored, embeddings)):
        raise BadInput(
            f"{folder}: {head} differs from {embeddings}, but config.json has tie_word_embeddings",
            "set `tie_word_embeddings` to false in config.json",
        )


def _read(stored: dict[str, StoredTensor], name: str) -> Tensor:
    with safe_open(stored[name].file, framework="pt") as handle:
        return handle.get_tensor(name)


def _listed(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + rest
