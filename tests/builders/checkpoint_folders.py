"""What the tests of checkpoint folders share: changing one, comparing tensors, reading the
refusal."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.errors import BadInput


def identical(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def rewrite(folder, change):
    """Change the tensors of a folder with a single weight file."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, name="config.json", **changed):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def refusal(load, folder):
    with pytest.raises(BadInput) as caught:
        load(folder)
    assert str(folder) in caught.value.message and caught.value.remedy
    return caught.value.message
