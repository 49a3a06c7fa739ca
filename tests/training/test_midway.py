"""A checkpoint inside a stage, written as one that loads without our code."""

import pytest
import torch

from builders.nano_policies import TOKENIZER, nano, some_ids
from common.errors import BadInput
from common.files import checksum, files_below, write_sealed
from models.adapters import adapted
from models.checkpoint import load_policy, save_policy
from models.config import LoraConfig
from training.midway import write_checkpoint
from training.resume import MARKER


def saved_by_a_trainer(policy, folder):
    policy.save_pretrained(folder)
    files = {path.name: checksum(path) for path in files_below(folder)}
    write_sealed(folder / MARKER, {"files": files, "logs": {}})
    return folder


def changed(policy):
    """The policy with other weights where it trains."""
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape) * 0.02)
    return policy.eval()


@pytest.mark.parametrize("adapters", [True, False])
def test_it_has_the_policy_of_that_step(tmp_path, adapters):
    torch.manual_seed(0)
    save_policy(nano(), TOKENIZER, tmp_path / "start")
    policy = changed(adapted(nano(), LoraConfig(rank=4)) if adapters else nano())
    saved = saved_by_a_trainer(policy, tmp_path / "checkpoint-3")
    write_checkpoint(saved, tmp_path / "start", tmp_path / "target")
    ids = some_ids()
    with torch.no_grad():
        expected = policy(input_ids=ids).logits
        got = load_policy(tmp_path / "target").eval()(input_ids=ids).logits
        start = load_policy(tmp_path / "start").eval()(input_ids=ids).logits
    assert torch.allclose(got, expected, atol=1e-5) and not torch.allclose(got, start, atol=1e-3)


def test_a_checkpoint_that_changed_or_is_divided_is_refused(tmp_path):
    save_policy(nano(), TOKENIZER, tmp_path / "start")
    saved = saved_by_a_trainer(nano(), tmp_path / "checkpoint-3")
    (saved / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"config\.json: has changed since it was saved"):
        write_checkpoint(saved, tmp_path / "start", tmp_path / "target")
    divided = tmp_path / "checkpoint-4"
    (divided / "pytorch_model_fsdp_0").mkdir(parents=True)
    write_sealed(divided / MARKER, {"files": {}, "logs": {}})
    with pytest.raises(BadInput, match="divided among processes"):
        write_checkpoint(divided, tmp_path / "start", tmp_path / "target")
