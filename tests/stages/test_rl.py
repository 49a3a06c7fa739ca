"""RL without an engine: groups and advantages, practice on a scripted engine."""

import json
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scripted_collector import CRASH, CUT, MIXED, RIGHT, SOLVED, WRONG, collector
from common.faults import CUT_OFF
from curriculum.stage_start import begin_stage
from rollouts.interface import Rollout
from stages.rl.groups import Group, Member


def member(reward, fault=None, length=2):
    return Member(Rollout([5] * length, [-0.5] * length, "x", "stop"), reward, fault)


def group_of(*members):
    return Group("p", "words", [1, 2, 3], list(members), probe=False)


@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16).filter(
        lambda rewards: len(set(rewards)) > 1
    )
)
def test_advantages_are_rewards_in_units_of_their_spread(rewards):
    advantages = group_of(*map(member, rewards)).advantages()
    assert sum(advantages) == pytest.approx(0, abs=1e-9)
    scale = statistics.stdev(rewards) + 1e-4
    for reward, advantage in zip(rewards, advantages, strict=True):
        assert advantage == pytest.approx((reward - statistics.fmean(rewards)) / scale)


def test_a_fault_is_neither_right_nor_wrong():
    plain = group_of(member(1.0), member(0.0), member(0.0))
    faulty = group_of(
        member(0.0, "timeout"), member(1.0), member(0.0), member(0.0, CUT_OFF, 9), member(0.0)
    )
    assert faulty.mixed and faulty.passes == 1 and len(faulty.usable) == 3
    assert faulty.advantages() == plain.advantages()
    assert faulty.faults == {"timeout": 1, CUT_OFF: 1}
    assert (faulty.tokens, faulty.loss_tokens) == (17, 6)


def test_faults_make_no_group_mixed():
    assert not group_of(member(1.0), member(0.0, CUT_OFF), member(1.0)).mixed
    assert not group_of(member(0.0, CUT_OFF), member(0.0, "timeout")).mixed
    assert not group_of(member(0.0), member(0.0)).mixed


def test_a_line_of_groups_holds_what_dpo_reads():
    line = group_of(member(1.0), member(0.0, CUT_OFF)).to_json(step=4, system_prompts=())
    assert json.loads(json.dumps(line)) == line
    assert (line["step"], line["prompt_id"], line["probe"], line["system"]) == (4, "p", False, None)
    assert line["members"][1] == {
        "token_ids": [5, 5],
        "text": "x",
        "finish": "stop",
        "reward": 0.0,
        "fault": CUT_OFF,
    }


def test_groups_without_a_spread_are_booked_and_replaced():
    script = {f"s{i}": SOLVED for i in range(6)} | {f"m{i}": MIXED for i in range(6)}
    collecting, ledger, _ = collector(script, curriculum={"max_rounds": 12})
    batch = collecting.collect(0)
    assert len(batch.trained) == 2 and all(group.mixed for group in batch.trained)
    ids = [group.prompt_id for group in batch.rolled_out]
    assert len(set(ids)) == len(ids)
    booked = {row.id: row for row in ledger.records() if row.drawn}
    assert set(booked) == set(ids)
    for group in batch.rolled_out:
        row = booked[group.prompt_id]
        assert (row.passes, row.fails, row.seen_version) == (
            (4, 0, 0) if row.id.startswith("s") else (2, 2, 0)
        )
    assert (batch.tokens, batch.loss_tokens) == (8 * len(ids), 16)


def test_a_later_stages_first_step_is_of_a_later_policy():
    collecting, ledger, _ = collector({f"m{i}": MIXED for i in range(6)})
    for step in range(3):
        collecting.collect(step)
    begin_stage(ledger)
    collecting.collect(0)
    assert max(row.seen_version for row in ledger.records() if row.drawn) == 3


def test_a_step_asks_only_for_what_is_missing():
    script = {f"s{i}": SOLVED for i in range(20)} | {"m": MIXED}
    collecting, _, engine = collector(script, prompts_per_step=3, curriculum={"max_rounds": 7})
    batch = collecting.collect(0)
    missing = 3
    for names, samples, _ in engine.asked:
        assert samples == [4] * missing
        missing -= sum(name == "m" for name in names)
    assert len(engine.asked) == 7 and len(batch.trained) == 3 - missing


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_step_ends_after_its_rounds(rounds):
    collecting, _, engine = collector(
        {f"s{i}": SOLVED for i in range(40)}, curriculum={"max_rounds": rounds}
    )
    batch = collecting.collect(0)
    assert (
        batch.trained == [] and len(engine.asked) == rounds and len(batch.rolled_out) == 2 * rounds
    )


def test_a_small_pool_ends_a_step_early():
    collecting, _, engine = collector(
        {"s1": SOLVED, "s2": SOLVED, "s3": SOLVED}, curriculum={"max_rounds": 5}
    )
    assert len(collecting.collect(0).rolled_out) == 3 and len(engine.asked) == 2


def test_a_pilot_and_the_rest_are_one_group_with_seeds_of_their_own():
    script = {f"m{i}": MIXED for i in range(4)} | {f"s{i}": SOLVED for i in range(4)}
    collecting, ledger, engine = collector(
        script, group_size=6, curriculum={"pilot": 2, "sure": 1.0}
    )
    batch = collecting.collect(0)
    assert engine.asked[0][1] == [2, 2] and 4 in engine.asked[1][1]
    seeds = [seed for _, _, seeds in engine.asked for seed in seeds]
    assert len(set(seeds)) == len(seeds)
    for group in batch.trained:
        assert len(group.members) == 6 and group.passes == 3
        row = ledger.record(group.prompt_id)
        assert (row.passes, row.fails, row.drawn) == (3, 3, 1)
    assert all(len(group.members) in (2, 6) for group in batch.rolled_out)


def test_uniform_counts_groups_without_a_spread_in_the_loss_and_trains_on_none():
    script = {f"s{i}": SOLVED for i in range(3)} | {"m": MIXED}
    collecting, _, _ = collector(script, prompts_per_step=4, curriculum={"kind": "uniform"})
    batch = collecting.collect(0)
    assert [group.prompt_id for group in batch.trained] == ["m"]
    assert (batch.loss_tokens, batch.trained[0].tokens) == (32, 8)


def test_system_prompts_vary_by_step_and_are_measured():
    collecting, _, _ = collector(
        {f"m{i}": MIXED for i in range(6)},
        system_prompts=("be brief", "be kind"),
        prompts_per_step=4,
    )
    asked = Counter[int]()
    for step in range(8):
        batch = collecting.collect(step)
        for group in batch.rolled_out:
            asked[group.system] += 1
            assert group.prompt_ids == collecting.encoder.variants(group.prompt_id)[group.system]
            assert (
                group.to_json(step, ("be brief", "be kind"))["system"]
                == ("be brief", "be kind")[group.system]
            )
    assert min(asked.values()) > 8 and set(asked) == {0, 1}
    assert batch.metrics["system/0/pass_rate"] == batch.metrics["system/1/pass_rate"] == 0.5


def test_the_same_step_draws_and_rolls_the_same_and_another_step_does_not():
    script = {f"m{i}": MIXED for i in range(30)}
    asked = []
    for step in (3, 3, 4):
        collecting, _, engine = collector(script)
        collecting.collect(step)
        asked.append(engine.asked)
    assert asked[0] == asked[1] and asked[0][0][2] != asked[2][0][2]


@pytest.mark.parametrize(
    ("cut_off", "evidence", "mixed"), [("mask", (4, 0), False), ("zero", (4, 4), True)]
)
def test_what_a_cut_off_completion_means_is_the_recipes_choice(cut_off, evidence, mixed):
    collecting, ledger, _ = collector(
        {"a": [RIGHT, CUT]}, cut_off=cut_off, group_size=8, prompts_per_step=1
    )
    batch = collecting.collect(0)
    row = ledger.record("a")
    assert (row.passes, row.fails) == evidence and bool(batch.trained) == mixed
    assert row.faults == ({} if mixed else {CUT_OFF: 4}) == dict(batch.rolled_out[0].faults)
    assert {member.fault for member in batch.rolled_out[0].members} == (
        {None} if mixed else {None, CUT_OFF}
    )


def test_a_verifiers_crash_is_no_evidence():
    collecting, ledger, _ = collector({"a": [RIGHT, CRASH, WRONG, CRASH]}, prompts_per_step=1)
    batch = collecting.collect(0)
    row = ledger.record("a")
    assert (row.passes, row.fails, row.faults) == (1, 1, {"verifier_crash": 2})
    assert len(batch.trained) == 1 and batch.trained[0].passes == 1


def test_the_policy_refilters_the_pool_every_so_often():
    script = {f"s{i}": SOLVED for i in range(4)} | {f"m{i}": MIXED for i in range(4)}
    settings = {"refilter_every": 2, "probe_share": 0.9, "probe_attempts": 6}
    collecting, _, engine = collector(script, curriculum=settings)
    probed = {}
    for step in range(13):
        before = len(engine.asked)
        batch = collecting.collect(step)
        probes = [group for group in batch.rolled_out if group.probe]
        probed[step] = len(probes)
        assert all(len(group.members) == 6 for group in probes)
        assert not probes or set(engine.asked[before][1]) == {6}
    assert [step for step, count in probed.items() if count] == [2, 4, 6, 8, 10, 12]


def test_probes_are_never_trained_on():
    collecting, _, _ = collector(
        {f"m{i}": MIXED for i in range(6)}, curriculum={"refilter_every": 1, "probe_share": 0.9}
    )
    batch = collecting.collect(1)
    assert any(group.probe and group.mixed for group in batch.rolled_out)
    assert not any(group.probe for group in batch.trained)
