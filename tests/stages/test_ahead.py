"""Rollouts one step ahead: which policy samples what, what a checkpoint keeps, and the correction
in the loss."""

import threading
import time
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.scripted_collector import MIXED, collector
from curriculum.ledger import Ledger
from curriculum.requests import Shortage
from rollouts.interface import Rollout
from stages.rl.ahead import Background, StepRollouts
from stages.rl.batch import collate, idle
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from stages.rl.loss import dapo_loss, importance
from stages.rl.passes import Part, dealt, forward_passes
from stages.rl.pending import read_pending, write_pending

STEPS = 5


class Recording:
    """A collector that notes under which published version it samples."""

    rows_per_forward = 4

    def __init__(self, slow=0.0):
        self.published, self.sampled, self.slow = -1, list[tuple[int, int, int]](), slow
        self.threads = set[str]()

    def publish(self, version):
        self.published = version

    def collect(self, step, version):
        self.threads.add(threading.current_thread().name)
        time.sleep(self.slow)
        self.sampled.append((step, version, self.published))
        return StepBatch(loss_tokens=step, version=version)


class Failing(Recording):
    """Cannot collect step 2."""

    def collect(self, step, version):
        return super().collect(step, version // (step != 2))


def steps(collecting, ahead, start=None, first=0, last=STEPS):
    """The batches that training takes, and the rollouts' owner afterwards."""
    rollouts = StepRollouts(collecting, ahead=ahead, steps=STEPS, start=start)
    taken = [rollouts.take(step, partial(collecting.publish, step)) for step in range(first, last)]
    return taken, rollouts


def test_on_policy_rollouts_are_sampled_from_the_version_that_trains():
    collecting = Recording()
    taken, _ = steps(collecting, ahead=0)
    assert collecting.sampled == [(k, k, k) for k in range(STEPS)]
    assert [batch.loss_tokens for batch in taken] == list(range(STEPS))


@pytest.mark.parametrize("slow", [0.0, 0.03])
def test_one_step_ahead_the_lag_is_one_whatever_the_timing(slow):
    collecting = Recording(slow)
    taken, _ = steps(collecting, ahead=1)
    assert collecting.sampled == [(0, 0, 0), *((k, k - 1, k - 1) for k in range(1, STEPS))]
    assert [k - batch.version for k, batch in enumerate(taken)] == [0, 1, 1, 1, 1]
    assert len(collecting.threads) == STEPS


def test_a_checkpoint_keeps_the_step_that_was_collected_and_resuming_samples_no_step_twice(
    tmp_path,
):
    collecting = Recording(0.02)
    _, rollouts = steps(collecting, ahead=1, last=3)
    rollouts.save(tmp_path)
    assert collecting.sampled[-1] == (3, 2, 2)
    again = Recording()
    taken, _ = steps(again, ahead=1, start=tmp_path, first=3)
    assert [(batch.loss_tokens, batch.version) for batch in taken] == [(3, 2), (4, 3)]
    assert again.sampled == [(4, 3, 3)]


def test_what_a_collection_raises_is_raised_where_it_is_joined():
    failing: Any = Failing()
    rollouts = StepRollouts(failing, ahead=1, steps=STEPS)
    rollouts.take(0, lambda: None)
    rollouts.take(1, lambda: None)
    with pytest.raises(ZeroDivisionError):
        rollouts.take(2, lambda: None)


def a_group(name, length, rewards):
    members = [
        Member(Rollout([5] * (1 + n), [-0.1 - n / 3] * (1 + n), f"t{n}", "stop"), reward, None)
        for n, reward in enumerate(rewards)
    ]
    return Group(name, "words", [3] * length, members, probe=False)


def test_pending_rollouts_come_back_bit_for_bit(tmp_path):
    groups = [a_group("a", 4, [1.0, 0.0, 1.0]), a_group("b", 2, [0.0, 0.0])]
    batch = StepBatch(
        trained=groups[:1],
        rolled_out=groups,
        passes=forward_passes(groups[:1], 2),
        loss_tokens=6,
        unusable={"x": "too_long"},
        metrics={"curriculum/pool_rate": 1 / 3},
        shortages={"words": Shortage(3, 1, 0, 2, 9, 1 / 3)},
        version=7,
    )
    write_pending(tmp_path, 8, batch)
    assert read_pending(tmp_path, 2) == (8, batch)
    assert read_pending(None, 2) is None


def rows_of(parts):
    return [row for p in parts for row in zip(p.rollouts, p.advantages, strict=True)]


@given(
    sizes=st.lists(st.integers(2, 5), min_size=1, max_size=4),
    limit=st.integers(1, 9),
    processes=st.integers(1, 4),
)
def test_dealt_passes_hold_every_row_once_in_order_and_are_even(sizes, limit, processes):
    groups = [a_group(f"g{n}", 2, [float(i % 2) for i in range(s)]) for n, s in enumerate(sizes)]
    passes = forward_passes(groups, limit * processes)
    shares = dealt(passes, processes)
    assert len(shares) == processes and {len(share) for share in shares} == {len(passes)}
    for number, whole in enumerate(passes):
        parts = [share[number] for share in shares]
        counts = [sum(len(part.rollouts) for part in one) for one in parts]
        assert max(counts) - min(counts) <= 1 and max(counts) <= limit
        assert rows_of([part for one in parts for part in one]) == rows_of(whole)


def test_an_idle_process_adds_nothing_to_the_loss():
    tensors = idle(9)
    assert not tensors["mask"].any() and tensors["loss_tokens"] == 9
    assert set(tensors) == set(collate([Part([1], [Rollout([2], [0.0], "", "stop")], [1.0])], 0, 9))


def test_truncated_importance_weighs_each_token_by_its_ratio_at_most_two():
    engine = torch.log(torch.tensor([[0.5, 0.1], [0.4, 0.2]]))
    logprobs = torch.log(torch.tensor([[0.6, 0.5], [0.2, 0.2]])).requires_grad_()
    weights = importance(logprobs, engine).clamp(max=2.0)
    torch.testing.assert_close(weights, torch.tensor([[1.2, 2.0], [0.5, 1.0]]))
    advantages, mask = torch.tensor([1.0, -1.0]), torch.ones(2, 2)
    loss, _ = dapo_loss(
        logprobs, logprobs.detach(), advantages, mask, torch.tensor(4), weights_BC=weights
    )
    loss.backward()
    expected = -torch.tensor([[1.2, 2.0], [-0.5, -1.0]]) / 4
    torch.testing.assert_close(logprobs.grad, expected)


def test_a_real_curriculum_draws_other_prompts_for_two_steps_of_one_version():
    collecting, ledger, _ = collector({f"m{n}": MIXED for n in range(30)}, prompts_per_step=4)
    first, second = collecting.collect(0, 0), collecting.collect(1, 0)
    drawn = [{group.prompt_id for group in batch.rolled_out} for batch in (first, second)]
    assert drawn[0] != drawn[1]
    assert [batch.version for batch in (first, second)] == [0, 0]
    assert {row.seen_version for row in ledger.records() if row.drawn} == {0}


def test_a_ledger_from_a_file_may_be_used_by_the_thread_that_collects(tmp_path):
    _, ledger, _ = collector({"a": MIXED})
    ledger.snapshot(tmp_path / "ledger.sqlite")
    restored = Ledger.restore(tmp_path / "ledger.sqlite", tmp_path / "again.sqlite")
    background = Background(0, lambda: StepBatch(loss_tokens=len(list(restored.records()))))
    assert background.result().loss_tokens == 1
