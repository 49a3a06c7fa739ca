"""Router metrics: loads, drift, the balance loss against its formula, and that listening changes
nothing."""

import math
from typing import Any

import pytest
import torch

from builders.contexts import stage_context
from builders.nano_policies import nano, some_ids
from common.errors import BadInput
from common.execution import ExecutionConfig
from common.files import read_json, read_json_lines
from models.packed import attention_masks, pack
from models.routing import (
    RouterWatch,
    balance_loss,
    differing,
    load_metrics,
    moe_layers,
    real_tokens,
    routing,
)
from pipeline.cli.status import status_table
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from stages.sft.config import SftStage
from training.router_metrics import STATE, RouterMetrics, spread_out


def by_hand(policy, ids, mask):
    """Tokens an expert gets, by layer, from a plain forward pass without any watch."""
    logits = {}
    for layer, block in moe_layers(policy).items():
        block.router.register_forward_hook(
            lambda m, i, out, layer=layer: logits.update({layer: out[1].detach()})
        )
    policy(input_ids=ids, attention_mask=mask)
    real = mask.flatten().bool()
    return {layer: torch.bincount(x[real].argmax(1), minlength=4) for layer, x in logits.items()}


@pytest.mark.parametrize("recompute", [False, True])
def test_load_counts_every_real_token_of_training_once(recompute):
    policy, ids = nano().train(), some_ids(3, 20)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    expected = by_hand(nano().train(), ids, mask)
    watch = RouterWatch(policy)
    if recompute:
        policy.gradient_checkpointing_enable({"use_reentrant": False})
    policy(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss.backward()
    policy.eval()
    policy(input_ids=ids)
    assert watch.counts.keys() == expected.keys() == {1, 3}
    for layer in expected:
        assert torch.equal(watch.counts[layer], expected[layer]) and watch.counts[layer].sum() == 53


def test_load_metrics_tell_even_from_collapsed():
    even = load_metrics({1: torch.tensor([5, 5, 5, 5])})
    assert even == {
        "router/load_entropy": pytest.approx(1),
        "router/largest_load": 0.25,
        "router/dead_experts": 0,
    }
    mixed = load_metrics({1: torch.tensor([20, 0, 0, 0]), 3: torch.tensor([5, 5, 5, 5])})
    assert mixed == {
        "router/load_entropy": pytest.approx(0.5),
        "router/largest_load": 1.0,
        "router/dead_experts": 3,
    }
    assert (
        load_metrics({}) == {}
        and load_metrics({0: torch.tensor([9])})["router/load_entropy"] == 1.0
    )


def test_the_balance_loss_is_its_formula():
    logits = torch.randn(11, 4, generator=torch.Generator().manual_seed(1))
    counts = torch.bincount(logits.argmax(1), minlength=4)
    total = 0.0
    for i in range(4):
        chose = sum(1 for row in logits if row.argmax() == i)
        share = sum(
            1 / (1 + math.exp(-row[i])) / sum(1 / (1 + math.exp(-x)) for x in row)
            for row in logits.tolist()
        )
        total += (4 / 11 * chose) * (share / 11)
    assert balance_loss(logits, counts).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_balance_loss_adds_its_gradient_and_nothing_else(recompute):
    ids, weight = some_ids(3, 20), 0.3
    one, other = nano().train(), nano().train()
    layers = {}
    for layer, block in moe_layers(one).items():
        block.router.register_forward_hook(
            lambda m, i, out, layer=layer: layers.update({layer: out[1]})
        )
    plain_loss = one(input_ids=ids, labels=ids, use_cache=False).loss
    extra = torch.stack(
        [balance_loss(x, torch.bincount(x.argmax(1), minlength=4)) for x in layers.values()]
    ).sum()
    (plain_loss + weight * extra).backward()
    watch = RouterWatch(other, balance=weight)
    if recompute:
        other.gradient_checkpointing_enable({"use_reentrant": False})
    loss = other(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-6)
    assert sum(watch.losses) == pytest.approx(extra.item(), rel=1e-5)
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= 1e-5 * a.grad.norm() + 1e-7, name


def test_the_balance_loss_evens_the_load_out():
    policy, ids = nano().train(), some_ids(8, 30)
    watch = RouterWatch(policy, balance=1.0)
    routers = [block.router.weight for block in moe_layers(policy).values()]
    optimiser = torch.optim.Adam(routers, lr=0.02)
    entropies = []
    for _ in range(40):
        watch.reset()
        (policy(input_ids=ids).logits.sum() * 0.0).backward()
        optimiser.step()
        optimiser.zero_grad()
        entropies.append(load_metrics(watch.counts)["router/load_entropy"])
    assert entropies[-1] > entropies[0] and entropies[-1] > 0.97


def test_padding_of_packed_rows_is_not_counted():
    packed = pack([([1, 2, 3], [[4], [5, 6]]), ([1], [[7], [8]])], pad=0)
    real = real_tokens(attention_masks(packed, None))
    assert real is not None
    assert real.tolist() == (packed["owner"] >= 0).flatten().tolist()
    assert real_tokens(None) is None


def saving(folder, every):
    return stage_context(folder, execution=ExecutionConfig(save_every=every))


def test_drift_is_the_share_of_tokens_that_changed_their_expert(tmp_path):
    policy, probe = nano(), [[7, 8, 9, 10], [11, 12, 13]]
    router_metrics = RouterMetrics(policy, probe, saving(tmp_path, 2), balance=0.0, start=None)
    policy.train()(input_ids=some_ids(3, 20))
    first = router_metrics.step(1, last=3)
    assert "router/drift" not in first and first["router/largest_load"] >= 0.25
    assert router_metrics.step(2, last=3) == {"router/drift": 0.0}
    before = routing(policy, probe)
    with torch.no_grad():
        moe_layers(policy)[1].router.weight.neg_()
    after = routing(policy, probe)
    assert after.shape == (2, 7, 1) and differing(before, after) > 0
    assert router_metrics.step(3, last=3)["router/drift"] == differing(before, after)
    lines = read_json_lines(tmp_path / "routing.jsonl")
    assert [line["step"] for line in lines] == [2, 3]
    assert lines[0]["drift"] == {"1": 0.0, "3": 0.0} and sum(
        lines[0]["load"]["1"]
    ) == pytest.approx(1, abs=1e-3)
    assert lines[1]["load"] == {} and lines[1]["drift"]["1"] > 0
    policy(input_ids=some_ids(3, 20))
    router_metrics.step(5, last=9)
    router_metrics.save(tmp_path)
    again = RouterMetrics(nano(), probe, saving(tmp_path, 2), balance=0.0, start=tmp_path)
    assert again.start is not None and torch.equal(again.start, before)
    assert again.load.keys() == router_metrics.load.keys() == {1, 3}
    assert all(
        torch.equal(again.load[layer], counts) for layer, counts in router_metrics.load.items()
    )


class OnGpu:
    """Counts on another device: they add to nothing on the CPU."""

    def __init__(self, counts):
        self.counts = counts

    def __radd__(self, other):
        raise RuntimeError("Expected all tensors to be on the same device")

    def cpu(self):
        return self.counts


def test_counts_of_a_policy_on_a_gpu_join_those_of_a_checkpoint(tmp_path):
    (tmp_path / STATE).write_text('{"1": [1, 2, 3, 4]}')
    router_metrics = RouterMetrics(
        nano(), [[7, 8]], saving(tmp_path, 9), balance=0.0, start=tmp_path
    )
    for step in (1, 2):
        counts: Any = OnGpu(torch.tensor([10, 0, 0, 30]))
        router_metrics.watch.counts[1] = counts
        assert router_metrics.step(step, last=9)["router/largest_load"] == 0.75
    assert router_metrics.load[1].tolist() == [21, 2, 3, 64]
    router_metrics.save(tmp_path)
    assert read_json(tmp_path / STATE) == {"1": [21, 2, 3, 64]}


def test_status_shows_routers_and_curriculum_apart_from_the_other_figures():
    metrics = {
        "loss": 0.5,
        "curriculum/pool_rate": 0.4,
        "router/load_entropy": 0.9,
        "router/drift": 0.02,
    }
    row = {
        "id": "sft",
        "kind": "sft",
        "state": "done",
        "seconds": 1.0,
        "tokens_generated": 0,
        "tokens_trained": 9,
        "note": "",
        "disk_mib": 2.0,
        "metrics": metrics,
    }
    header, shown = status_table({"stages": [row]})
    assert header[-3:] == ["figures", "curriculum", "routers"]
    assert shown[-3:] == ["loss 0.5", "pool_rate 0.4", "load_entropy 0.9, drift 0.02"]


def test_an_engine_refuses_more_than_one_expert_a_token(tmp_path):
    (tmp_path / "config.json").write_text('{"num_experts_per_tok": 2}')
    with pytest.raises(BadInput, match="2 experts per token"):
        Engine(tmp_path, RolloutConfig(), seed=0)


def test_a_balance_loss_on_frozen_routers_is_refused():
    with pytest.raises(ValueError, match="frozen routers"):
        SftStage.model_validate(
            {"id": "s", "kind": "sft", "on": "p", "learning_rate": 1e-3, "balance_loss": 0.1}
        )
    with pytest.raises(ValueError, match="lora is only read"):
        SftStage.model_validate(
            {
                "id": "s",
                "kind": "sft",
                "on": "p",
                "learning_rate": 1e-3,
                "train": "full",
                "lora": {"rank": 2},
            }
        )


def test_probes_are_spread_over_what_there_is():
    assert spread_out(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread_out([1, 2], 4) == [1, 2]
