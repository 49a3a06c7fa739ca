"""The three initialisations of experts: the function they keep, noise, split, seed."""

import pytest
import torch

from builders.dense_llamas import largest_difference, llama, token_ids
from common.errors import BadInput
from models import expert_init
from models.expert_init import Mlp, expert_size, moe_tensors
from models.upcycle import upcycle


@pytest.mark.parametrize("init", ["zero_output", "noise", "split"])
def test_every_expert_and_the_router_learn(init):
    moe = upcycle(llama(), experts=3, moe_every=2, seed=0, experts_per_token=2, init=init)
    moe(input_ids=token_ids(), labels=token_ids()).loss.backward()
    for layer in (1, 3):
        block = moe.model.layers[layer].feed_forward
        assert all(expert.norm() > 0 for expert in block.experts.down_proj.grad)
        if init != "zero_output":
            assert block.router.weight.grad.norm() > 0
            assert block.experts.gate_up_proj.grad.norm() > 0


@pytest.mark.parametrize(("experts", "per_token"), [(3, 1), (3, 2), (4, 4)])
def test_without_noise_and_with_equal_scores_noisy_copies_keep_the_function(
    monkeypatch, experts, per_token
):
    monkeypatch.setattr(expert_init, "NOISE", 0.0)
    monkeypatch.setitem(expert_init.ROUTER_STD, "noise", 0.0)
    dense = llama()
    moe = upcycle(
        dense, experts=experts, moe_every=2, seed=0, experts_per_token=per_token, init="noise"
    )
    assert largest_difference(dense, moe) < 1e-4
    with torch.no_grad():
        moe.model.layers[1].feed_forward.experts.down_proj.zero_()
    assert largest_difference(dense, moe) > 0.1  # the routed experts have a part of the output


def test_noise_has_its_stated_size_and_differs_between_experts():
    dense = llama()
    moe = upcycle(dense, experts=3, moe_every=2, seed=0, init="noise")
    down = dense.model.layers[1].mlp.down_proj.weight.T
    noise = moe.model.layers[1].feed_forward.experts.down_proj / 0.5 - down
    assert (noise.norm() / 3**0.5 / down.norm()).item() == pytest.approx(expert_init.NOISE, rel=0.1)
    assert (noise[0] - noise[1]).abs().mean() > noise[0].abs().mean()


def test_split_with_every_expert_chosen_is_the_whole_mlp(monkeypatch):
    monkeypatch.setitem(expert_init.ROUTER_STD, "split", 0.0)
    dense = llama()
    moe = upcycle(dense, experts=4, moe_every=2, seed=0, experts_per_token=4, init="split")
    assert (moe.config.intermediate_size, moe.config.intermediate_size_mlp) == (16, 80)
    assert moe.model.layers[1].feed_forward.experts.down_proj.shape == (4, 16, 48)
    assert largest_difference(dense, moe) < 1e-4


@pytest.mark.parametrize("per_token", [1, 3])
def test_split_is_right_in_expectation_over_uniform_routing(per_token):
    linear = llama().model.layers[0].mlp
    mlp = Mlp(linear.gate_proj.weight, linear.up_proj.weight, linear.down_proj.weight)
    parts = moe_tensors("split", mlp, 4, per_token, torch.Generator().manual_seed(0))
    inputs = torch.randn(7, 48)

    def gated(gate, up, down, x):
        return (torch.nn.functional.silu(x @ gate) * (x @ up)) @ down

    weights = {
        name: parts[f"shared_expert.{name}_proj.weight"].T for name in ("gate", "up", "down")
    }
    shared = gated(**weights, x=inputs)
    gate, up = parts["experts.gate_up_proj"].chunk(2, dim=-1)
    # Each expert is chosen with probability per_token / 4, and its input is multiplied by the
    # score 1/2.
    outputs = [gated(gate[e], up[e], parts["experts.down_proj"][e], inputs / 2) for e in range(4)]
    routed = torch.stack(outputs).sum(0) * per_token / 4
    torch.testing.assert_close(shared + routed, linear(inputs), rtol=0, atol=1e-5)


def test_an_uneven_split_names_counts_that_divide():
    with pytest.raises(BadInput, match="1536 neurons does not divide into 5 equal parts") as caught:
        expert_size("split", 1536, 4)
    assert caught.value.remedy == "use experts: 2 or 3 or 5"
    assert [expert_size("split", 1536, count) for count in (2, 3, 5)] == [512, 384, 256]
    assert expert_size("noise", 1536, 4) == expert_size("zero_output", 1536, 4) == 1536
    with pytest.raises(BadInput, match="7 equal parts"):
        upcycle(llama(), experts=6, moe_every=2, seed=0, init="split")


@pytest.mark.parametrize("init", ["zero_output", "noise", "split"])
def test_the_seed_alone_decides(init):
    dense = llama()
    before = torch.get_rng_state()
    one, same, other = (
        upcycle(dense, experts=3, moe_every=2, seed=seed, init=init) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    router = "model.layers.1.feed_forward.router.weight"
    assert not torch.equal(one.get_parameter(router), other.get_parameter(router))
