"""The checkpoint that is written tensor by tensor is the one that transformers writes at once."""

import torch
from safetensors.torch import save_file

from builders.nano_policies import TOKENIZER, nano
from common.files import files_below
from models.adapters import adapted, merged, policy_weights, weight_shapes
from models.checkpoint import load_policy, save_policy
from models.config import LoraConfig
from models.sharded import TensorFile, save_sharded_policy


def policy_with_adapters():
    torch.manual_seed(0)
    policy = adapted(nano(), LoraConfig(rank=2, alpha=4, parts=("attention", "routed_experts")))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))
    return policy


def test_the_folder_has_the_same_bytes(tmp_path):
    save_sharded_policy(nano(), TOKENIZER, tmp_path / "one_by_one", writes=True)
    save_policy(nano(), TOKENIZER, tmp_path / "at_once")
    mine, other = (
        {path.name: path.read_bytes() for path in files_below(tmp_path / name)}
        for name in ("one_by_one", "at_once")
    )
    assert mine.keys() == other.keys()
    assert [name for name in mine if mine[name] != other[name]] == []


def test_adapters_are_merged(tmp_path):
    save_sharded_policy(policy_with_adapters(), TOKENIZER, tmp_path, writes=True)
    saved, plain = load_policy(tmp_path).state_dict(), merged(policy_with_adapters()).state_dict()
    for name, tensor in plain.items():
        torch.testing.assert_close(saved[name], tensor, rtol=0, atol=1e-7)
    assert any(not torch.equal(saved[name], weight) for name, weight in nano().state_dict().items())


def test_files_of_a_largest_size_load_as_one(tmp_path):
    policy, size = nano(), 400_000
    save_sharded_policy(policy, TOKENIZER, tmp_path, writes=True, shard=size)
    files = list(tmp_path.glob("model-*-of-*.safetensors"))
    assert len(files) > 3
    for name, tensor in load_policy(tmp_path).state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name]), name


def test_a_process_that_does_not_write_writes_nothing(tmp_path):
    save_sharded_policy(nano(), TOKENIZER, tmp_path / "checkpoint", writes=False)
    assert not list(tmp_path.iterdir())


def test_the_shapes_are_those_of_the_weights():
    policy = policy_with_adapters()
    weights, shapes = dict(policy_weights(policy)), weight_shapes(policy)
    assert list(weights) == list(shapes)
    assert all(tensor.shape == shapes[name].shape for name, tensor in weights.items())


def test_types_of_several_sizes_lie_where_safetensors_puts_them(tmp_path):
    tensors = {"b": torch.randn(3, 5), "é": torch.randn(7).bfloat16(), "a": torch.randn(2)}
    tensors["c"] = torch.randn(4, 4).half()
    written = TensorFile(tmp_path / "mine", {n: t.to("meta") for n, t in tensors.items()})
    for name, tensor in tensors.items():
        written.put(name, tensor)
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "mine").read_bytes() == (tmp_path / "theirs").read_bytes()
