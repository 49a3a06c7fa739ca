"""RL on graded rewards: the collector, the groups, the figures, and what DPO makes of them."""

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.given_grades import GivenGrades
from builders.scripted_collector import CUT, collector
from curriculum.ledger import Ledger
from rewards.grader import Grade
from rollouts.interface import Rollout
from stages.dpo.pairs import mine, why_none
from stages.rl.collector import StepBatch
from stages.rl.groups import Group, Member
from stages.rl.pending import read_pending, write_pending
from stages.rl.step_metrics import TokenTotals, batch_metrics

HALVES = {f"p{n}": ["0.5", "0.25", "0", CUT] for n in range(6)}


def by_number(prompt, text):
    """The number that the text is, from two parts."""
    reward = float(text)
    return Grade(reward, None, text, {"math": float(reward == 1), "style": reward})


def collected(script=None, **settings):
    collecting, ledger, _ = collector(script or HALVES, **settings)
    collecting.grader = GivenGrades(by_number)
    return collecting.collect(0), ledger


def member(reward):
    return Member(Rollout([5], [-0.5], "x", "stop"), reward, None)


def test_rollouts_that_all_fail_train_by_what_they_are_worth():
    batch, ledger = collected()
    assert len(batch.trained) == 2
    group = batch.trained[0]
    assert [one.reward for one in group.usable] == [0.5, 0.25, 0.0] and group.passes == 0
    mean, spread = 0.25, statistics.stdev([0.5, 0.25, 0.0])
    expected = [(reward - mean) / (spread + 1e-4) for reward in (0.5, 0.25, 0.0)]
    assert group.advantages() == pytest.approx(expected)
    record = ledger.record(group.prompt_id)
    assert (record.passes, record.fails, record.rewards, record.squares) == (0, 3, 0.75, 0.3125)
    assert record.faults == {"cut_off": 1}


def test_pass_at_decides_what_passes_and_not_what_trains():
    strict, _ = collected()
    mild, ledger = collected(pass_at=0.5)
    rewards = [[m.reward for m in group.members] for group in strict.rolled_out]
    assert [[m.reward for m in group.members] for group in mild.rolled_out] == rewards
    assert {group.passes for group in mild.trained} == {1}
    assert {ledger.record(group.prompt_id).passes for group in mild.trained} == {1}
    assert {group.passes for group in strict.trained} == {0}


def test_each_part_is_logged_and_in_the_groups_file():
    batch, ledger = collected()
    figures = batch_metrics(batch, ledger)
    assert figures["reward"] == figures["reward/style"] == 0.25
    assert figures["reward/math"] == figures["pass_rate"] == 0.0
    lines = batch.rolled_out[0].to_json(0, ())["members"]
    assert json.loads(json.dumps(lines)) == lines
    assert lines[0]["parts"] == {"math": 0.0, "style": 0.5} and "parts" not in lines[3]


def test_rewards_of_one_part_leave_the_files_as_they_were():
    batch, ledger = collector({"p": ["right", "wrong"]})[0].collect(0), Ledger(None)
    (group,) = batch.rolled_out
    keys = {"token_ids", "text", "finish", "reward", "fault"}
    assert all(set(line) == keys for line in group.to_json(0, ())["members"])
    figures = batch_metrics(batch, ledger)
    assert figures["reward"] == figures["pass_rate"] == 0.5
    assert not [name for name in figures if name.startswith("reward/")]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.251, 1.0]), min_size=2, max_size=6))
def test_a_group_is_mixed_by_its_rewards(rewards):
    group = Group("p", "c", [1], [member(reward) for reward in rewards], probe=False)
    assert group.mixed == (max(rewards) - min(rewards) > 0.1)


def test_a_cut_off_rollout_under_zero_has_reward_0_and_no_parts():
    batch, _ = collected(cut_off="zero")
    cut = batch.rolled_out[0].members[3]
    assert (cut.reward, cut.fault, cut.cut_off, cut.parts) == (0.0, None, True, {})


def test_what_is_collected_ahead_keeps_rewards_parts_and_threshold(tmp_path):
    batch, _ = collected(pass_at=0.5)
    write_pending(tmp_path, 3, batch)
    step, read = read_pending(tmp_path, 32) or (None, None)
    assert step == 3 and read is not None and read.rolled_out == batch.rolled_out


def line(prompt_id, *members):
    rows = [
        {"text": text, "token_ids": [1] * length, "finish": "stop", "reward": reward, "fault": None}
        for text, reward, length in members
    ]
    return {"prompt_id": prompt_id, "step": 1, "system": None, "members": rows}


def test_a_pair_is_the_two_answers_whose_rewards_are_furthest_apart():
    group = line("p", ("best", 0.9, 4), ("good", 0.8, 4), ("bad", 0.1, 4), ("worst", 0.0, 4))
    (pair,) = mine([group], 9, 2.0, 0)
    assert (pair.chosen, pair.rejected) == ("best", "worst")
    far = line("p", ("best", 0.9, 9), ("good", 0.8, 4), ("bad", 0.1, 4), ("worst", 0.0, 1))
    (pair,) = mine([far], 9, 2.0, 0)
    assert (pair.chosen, pair.rejected) == ("good", "bad")


def test_a_pair_needs_the_margin():
    group = line("p", ("a", 0.7, 4), ("b", 0.3, 4))
    assert mine([group], 9, 2.0, 0) == []
    why, remedy = why_none([group])
    assert "0.5 apart; the largest difference is 0.4" in why and "min_margin" in remedy
    (pair,) = mine([group], 9, 2.0, 0, min_margin=0.25)
    assert (pair.chosen, pair.rejected) == ("a", "b")


def checked(prompt_id, *checks, fault=None, tokens=0):
    """A group whose rollouts have these sub-checks."""
    rollout = Rollout([5], [-0.5], "x", "stop")
    members = [Member(rollout, 1.0, fault, checks=one, judge_tokens=tokens) for one in checks]
    return Group(prompt_id, "c", [1], members, probe=False)


def test_sub_checks_that_prompts_share_and_judges_tokens_are_logged():
    short, unit = "rubric/is short", "rubric/states the unit"
    groups = [
        checked("p1", {short: 0.5, "rubric/own": 1.0}, {short: 0.7, "rubric/own": 1.0}, tokens=3),
        checked("p2", {short: 0.0, unit: 1.0}),
        checked("p3", {short: 9.0}, fault="judge_unreadable", tokens=2),
        checked("p4", {unit: 0.5}),
    ]
    batch = StepBatch(rolled_out=groups)
    metrics = batch_metrics(batch, Ledger(None))
    assert {name: value for name, value in metrics.items() if name.startswith("check/")} == {
        f"check/{short}": pytest.approx(0.4),
        f"check/{unit}": 0.75,
    }
    assert metrics["judge_tokens"] == 8
    assert TokenTotals([{"judge_tokens_total": 10}]).add(batch)["judge_tokens_total"] == 18
    without = StepBatch(rolled_out=[checked("p1", {})])
    assert "judge_tokens" not in batch_metrics(without, Ledger(None))
    assert "judge_tokens_total" not in TokenTotals([]).add(without)


def test_a_rollout_is_written_and_read_with_its_sub_checks(tmp_path):
    group = checked("p1", {"code/tests": 0.5}, tokens=3)
    (line,) = group.to_json(0, [])["members"]
    assert (line["checks"], line["judge_tokens"]) == ({"code/tests": 0.5}, 3)
    write_pending(tmp_path, 1, StepBatch(rolled_out=[group]))
    pending = read_pending(tmp_path, 8)
    assert pending is not None and pending[1].rolled_out == [group]


def test_what_the_grader_says_of_a_rollout_is_kept():
    collecting, _, _ = collector(HALVES)
    collecting.grader = GivenGrades(
        lambda prompt, text: Grade(float(text), None, text, checks={"m/a": 1.0}, judge_tokens=2)
    )
    batch = collecting.collect(0)
    ended = [one for group in batch.rolled_out for one in group.members if not one.cut_off]
    assert {(tuple(one.checks), one.judge_tokens) for one in ended} == {(("m/a",), 2)}
    assert batch.judge_tokens == 2 * len(ended)
