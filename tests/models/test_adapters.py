"""Which weights a stage trains, and that adapters compute with exactly the weights that are saved
and synced."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from peft.tuners.lora.layer import ParamWrapper

from builders.nano_policies import nano, some_ids
from common.errors import BadInput
from models.adapters import (
    FactoredExperts,
    adapted,
    freeze_untrained,
    merged,
    peft_lora,
    policy_weights,
)
from models.config import LoraConfig

PARTS = ("attention", "mlp", "shared_expert", "routed_experts")
EXPERTS = "model.layers.1.feed_forward.experts.down_proj"


def grow(policy):
    """Give the adapters random values, as training would."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter += 0.05 * torch.randn_like(parameter)
    return policy


def adapters(policy):
    return {name for name, parameter in policy.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("parts", [PARTS, PARTS[:3], ("routed_experts",)], ids=len)
@pytest.mark.parametrize("rank", [4, 3])
def test_policy_weights_give_the_outputs_of_the_adapted_model(parts, rank):
    base = nano()
    names = set(base.state_dict())
    policy = grow(adapted(base, LoraConfig(rank=rank, alpha=8, parts=parts)).eval())
    with torch.no_grad():
        logits = policy(input_ids=some_ids()).logits
    weights = dict(policy_weights(policy))
    assert set(weights) == names
    plain = nano(1).eval()
    plain.load_state_dict(weights)
    by_peft = dict(merged(policy).state_dict())
    for name in names:
        torch.testing.assert_close(weights[name], by_peft[name], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=some_ids()).logits, logits, rtol=0, atol=1e-4)
    assert (weights[EXPERTS] != nano().state_dict()[EXPERTS]).any() == ("routed_experts" in parts)


@settings(max_examples=10, deadline=None)
@given(rank=st.integers(1, 9), seed=st.integers(0, 9), recompute=st.booleans())
def test_factored_adapters_have_the_gradients_of_pefts_own(rank, seed, recompute):
    ours: list[Any] = []
    theirs: list[Any] = []
    for gradients, make in (
        (ours, adapted),
        (theirs, lambda m, c: get_peft_model(m, peft_lora(m, c))),
    ):
        torch.manual_seed(seed)
        policy = grow(make(nano(seed), LoraConfig(rank=rank, alpha=8)).train())
        kinds = {type(module) for module in policy.modules() if isinstance(module, ParamWrapper)}
        assert kinds == {FactoredExperts if gradients is ours else ParamWrapper}
        if recompute and gradients is ours:
            policy.gradient_checkpointing_enable({"use_reentrant": False})
        policy(input_ids=some_ids(), labels=some_ids(), use_cache=False).loss.backward()
        gradients += [(name, p.grad) for name, p in policy.named_parameters() if p.requires_grad]
    assert len(ours) == len(theirs) > 0
    for (name, one), (_, other) in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-7, name


def test_only_adapters_get_gradients():
    policy = adapted(nano(), LoraConfig(rank=4, alpha=8))
    policy(input_ids=some_ids(), labels=some_ids()).loss.backward()
    moved = {name for name, p in policy.named_parameters() if p.grad is not None}
    assert moved and all("lora_" in name for name in moved)
    grown = {
        name for name in moved if "lora_B" in name and policy.get_parameter(name).grad.norm() > 0
    }
    for part in (
        "q_proj",
        "o_proj",
        "shared_expert.down_proj",
        "layers.0.feed_forward.up_proj",
        "experts",
    ):
        assert any(part in name for name in grown), part


def test_fresh_adapters_change_nothing():
    with torch.no_grad():
        expected = nano().eval()(input_ids=some_ids()).logits
        assert torch.equal(
            adapted(nano(), LoraConfig()).eval()(input_ids=some_ids()).logits, expected
        )


@pytest.mark.parametrize(
    ("config", "there", "absent"),
    [
        ({"parts": ("attention",)}, "self_attn", "feed_forward"),
        ({"parts": ("routed_experts",)}, "experts", "self_attn"),
        ({"parts": ("shared_expert",)}, "shared_expert", ".experts."),
        ({"parts": ("mlp",)}, "layers.0.feed_forward.gate_proj", "shared_expert"),
        ({"layers": (3,)}, "layers.3.", "layers.1."),
        (
            {"layers": (1,), "parts": ("routed_experts",)},
            "layers.1.feed_forward.experts",
            "layers.3.",
        ),
    ],
)
def test_adapters_are_on_the_requested_parts_only(config, there, absent):
    names = adapters(adapted(nano(), LoraConfig(**config)))
    assert any(there in name for name in names) and not any(absent in name for name in names)
    assert all("lora_" in name for name in names)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"layers": (4,)}, r"lora\.layers: \[4\]"),
        ({"layers": (0,), "parts": ("routed_experts",)}, "routed_experts"),
    ],
)
def test_missing_layers_and_parts_are_refused(config, named):
    with pytest.raises(BadInput, match=named):
        adapted(nano(), LoraConfig(**config))


@pytest.mark.parametrize("train", ["full", "all_but_router", "experts"])
def test_only_the_selected_weights_require_gradients(train):
    policy = freeze_untrained(nano(), train, LoraConfig())
    policy(input_ids=some_ids(), labels=some_ids()).loss.backward()
    moved = {name for name, p in policy.named_parameters() if p.grad is not None}
    everything = {name for name, _ in nano().named_parameters()}
    routers = {name for name in everything if ".router." in name}
    stacked = {name for name in everything if ".experts." in name}
    assert routers and stacked
    assert (
        moved
        == {"full": everything, "all_but_router": everything - routers, "experts": stacked}[train]
    )
