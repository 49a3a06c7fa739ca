"""Pairs for DPO: verified right against wrong from one group, and nothing else."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.dpo.pairs import mine, why_none


def member(text, reward, fault=None, length=None):
    return {
        "text": text,
        "token_ids": [1] * (length or len(text)),
        "finish": "stop",
        "reward": reward,
        "fault": fault,
    }


def group(prompt, step, *members):
    line = {
        "prompt_id": prompt,
        "step": step,
        "capability": "words",
        "probe": False,
        "system": None,
    }
    return {**line, "members": list(members)}


MEMBERS = st.builds(
    member,
    text=st.text("abc", min_size=1, max_size=12),
    reward=st.sampled_from([0.0, 1.0]),
    fault=st.sampled_from([None, None, "cut_off", "timeout"]),
)
GROUPS = st.lists(
    st.builds(
        lambda prompt, step, members: group(prompt, step, *members),
        st.sampled_from("pqrs"),
        st.integers(0, 5),
        st.lists(MEMBERS, min_size=2, max_size=6),
    ),
    max_size=12,
)


@given(GROUPS, st.floats(1, 4), st.integers(0, 3))
def test_a_pair_is_right_against_wrong_of_one_group_and_of_like_length(groups, ratio, seed):
    for pair in mine(groups, 99, ratio, seed):
        sources = [
            one for one in groups if (one["prompt_id"], one["step"]) == (pair.prompt_id, pair.step)
        ]
        assert any(holds(one, pair, ratio) for one in sources)


def holds(source, pair, ratio):
    """Whether the pair can come from this group."""
    sound = [one for one in source["members"] if one["fault"] is None]
    right = {
        len(one["token_ids"])
        for one in sound
        if one["text"] == pair.chosen and one["reward"] == 1.0
    }
    wrong = {
        len(one["token_ids"])
        for one in sound
        if one["text"] == pair.rejected and one["reward"] == 0.0
    }
    return any(max(a, b) <= ratio * min(a, b) for a in right for b in wrong)


@given(GROUPS, st.integers(0, 4), st.integers(0, 3))
def test_pairs_are_one_a_prompt_newest_first_and_not_too_many(groups, most, seed):
    pairs = mine(groups, most, 2.0, seed)
    prompts, steps = [pair.prompt_id for pair in pairs], [pair.step for pair in pairs]
    assert len(set(prompts)) == len(prompts) <= most
    assert steps == sorted(steps, reverse=True)
    everything = {pair.prompt_id: pair for pair in mine(groups, 99, 2.0, seed)}
    left = [pair.step for prompt, pair in everything.items() if prompt not in prompts]
    assert len(pairs) == min(most, len(everything)) and (
        not left or not steps or max(left) <= steps[-1]
    )


def test_the_newest_group_that_has_a_pair_counts():
    old = group("p", 1, member("aa", 1.0), member("bb", 0.0))
    new = group("p", 2, member("cc", 1.0), member("dd", 0.0))
    newest = group("p", 3, member("ee", 1.0), member("ff", 0.0, fault="cut_off"))
    (pair,) = mine([old, newest, new], 9, 2.0, 0)
    assert (pair.step, pair.chosen, pair.rejected) == (2, "cc", "dd")


def test_faults_are_neither_right_nor_wrong():
    assert (
        mine([group("p", 1, member("aa", 1.0, fault="timeout"), member("bb", 0.0))], 9, 2.0, 0)
        == []
    )
    assert (
        mine([group("p", 1, member("aa", 1.0), member("bb", 0.0, fault="cut_off"))], 9, 2.0, 0)
        == []
    )


def test_of_several_the_pair_closest_in_length_is_taken():
    found = mine(
        [group("p", 1, member("aaaa", 1.0), member("bbbbb", 0.0), member("c", 0.0))], 9, 2.0, 0
    )
    assert found[0].rejected == "bbbbb"
    assert mine([group("p", 1, member("aaaa", 1.0), member("bbbbb", 0.0))], 9, 1.2, 0) == []
    assert mine([group("p", 1, member("aaaa", 1.0), member("bbbb", 0.0))], 9, 1.0, 0)


def test_lengths_are_tokens_and_not_characters():
    short = member("aaaaaaaaaa", 1.0, length=2)
    assert mine([group("p", 1, short, member("bbbbbbbbbb", 0.0, length=9))], 9, 2.0, 0) == []
    assert mine([group("p", 1, short, member("b", 0.0, length=2))], 9, 2.0, 0)


def test_equal_seeds_give_equal_pairs_in_whatever_order_the_prompts_come():
    groups = [
        group(f"p{i}", i % 2, member("aa", 1.0), member("bb", 0.0), member("cc", 0.0))
        for i in range(30)
    ]
    pairs = mine(groups, 20, 2.0, 5)
    assert mine(groups, 20, 2.0, 5) == pairs != mine(groups, 20, 2.0, 6)
    mixed = random.Random(0).sample(groups, len(groups))
    assert mine(mixed, 20, 2.0, 5) == pairs
    assert len({pair.rejected for pair in pairs}) == 2


@pytest.mark.parametrize(
    ("members", "why", "remedy"),
    [
        (
            [member("aa", 0.0, "cut_off")] * 3 + [member("b", 1.0)],
            "6 of 8 answers could not be graded",
            "max_tokens",
        ),
        (
            [member("aa", 0.0) | {"finish": "length"}] * 2,
            "4 of 4 answers .*4 cut_off",
            "max_tokens",
        ),
        ([member("aa", 0.0, "timeout")] * 2, "4 of 4 answers .*4 timeout", "verifier"),
        (
            [member("a", 1.0), member("b" * 9, 0.0)],
            "in the 2 that have .* lengths differ",
            "max_length_ratio",
        ),
        (
            [member("a", 1.0), member("b", 1.0)],
            "none has answers with different rewards",
            "medium difficulty",
        ),
    ],
)
def test_why_there_is_no_pair_names_what_can_be_changed(members, why, remedy):
    groups = [group(name, 1, *members) for name in "pq"]
    assert mine(groups, 9, 2.0, 0) == []
    said, do = why_none(groups)
    assert re.search(why, said) and remedy in do


def test_a_text_that_was_graded_twice_is_not_preferred_to_itself():
    assert mine([group("p", 1, member("aa", 1.0), member("aa", 0.0))], 9, 2.0, 0) == []


def test_rewards_that_differ_by_the_margin_make_a_pair_whatever_floats_round():
    assert 0.7 - 0.2 < 0.5
    groups = [group("p", 1, member("aa", 0.7), member("bb", 0.2))]
    assert len(mine(groups, 9, 2.0, 0, 0.5)) == 1
    assert "lengths differ too much" in why_none(groups, 0.5)[0]
    assert mine(groups, 9, 2.0, 0, 0.51) == []
    assert mine([group("p", 1, member("aa", 0.7), member("bb", 0.7))], 9, 2.0, 0, 1e-12) == []
