"""Weights that are rounded for a pass: once a step instead of in each pass, with the same result.
float64 weights in float32 passes stand in for float32 in bfloat16, which not every CPU can run."""

import pytest
import torch

from builders.nano_policies import nano
from models import moe
from models.moe import SparseExperts, weights_rounded_once
from models.packed import _head

ENDS = torch.tensor([3, 3, 8, 10], dtype=torch.int32)


def experts(frozen=False):
    torch.manual_seed(0)
    module = nano(seed=3).model.layers[1].feed_forward.experts.double().requires_grad_(not frozen)
    assert isinstance(module, SparseExperts)
    return module


def step(module, passes=3):
    """Outputs of all passes; the gradients stay on the module."""
    outputs = []
    for number in range(passes):
        rows = torch.randn(10, 128, generator=torch.Generator().manual_seed(number))
        outputs.append(module(rows.requires_grad_(), ENDS))
        outputs[-1].square().sum().backward()
    return torch.stack(outputs)


def test_a_step_gives_the_same_bits_and_float64_gradients():
    plain, once = experts(), experts()
    expected = step(plain)
    with weights_rounded_once():
        assert torch.equal(step(once), expected)
    for one, other in zip(once.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and one.grad.dtype == torch.float64
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("frozen", [False, True])
def test_each_weight_is_rounded_once_and_anew_in_the_next_step(frozen):
    module = experts(frozen)
    with weights_rounded_once():
        step(module)
        copies = dict(moe._rounded or {})
        step(module)
        assert moe._rounded == copies and len(copies) == 2
    assert moe._rounded is None
    with torch.no_grad():
        module.down_proj.mul_(2)
    with weights_rounded_once():
        assert torch.equal(step(module), step(module, passes=3))
        assert torch.equal(moe._rounded[id(module.down_proj)][1], module.down_proj.float())


def test_weights_in_the_precision_of_the_pass_are_not_copied():
    module = experts().float()
    with weights_rounded_once():
        step(module)
        assert moe._rounded == {}


def test_logits_are_float32_under_autocast():
    head, hidden = nano(seed=3).lm_head, torch.randn(5, 128)
    targets = torch.arange(5)
    expected = (hidden @ head.weight.T / 0.7).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = _head(head.weight, hidden, targets, 0.7, None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
