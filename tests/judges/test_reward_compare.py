"""Rewards by comparison: a ring of pairs, both orders, and what it says of each answer."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.judged_rewards import grader_with, judge_part, judged, judges_with, quoted, says
from builders.scripted_endpoint import endpoint, response
from judges.reward_compare import Compare, beaten, ring, strengths
from prompts.parts import read_part
from rewards.interface import Answer

pytestmark = pytest.mark.usefixtures("impatient_client")


def logistic(x):
    return 1 / (1 + math.exp(-x))


def prefers_larger(request, bias=0.0):
    """Prefers the larger number, and by `bias` (log-odds) the answer that is shown first."""
    *_, first, second = quoted(request)
    return says(logistic(float(first) - float(second) + bias), ("A", "B"))


def compared(url, answers, **more):
    part = read_part(judge_part(url, "compare", **more))
    opened = Compare(judges_with()).open(part, grader_with()._resources)
    try:
        prompt = judged(judge_part(url, "compare"))
        return opened.grade(prompt, [Answer(text) for text in answers])
    finally:
        opened.close()


def test_answers_are_ranked_by_as_many_pairs_as_there_are_answers():
    answers = ["1", "3", "0", "2", "4"]
    with endpoint(prefers_larger) as (url, requests):
        results = compared(url, answers)
    rewards = {text: one.reward for text, one in zip(answers, results, strict=True)}
    assert sorted(rewards, key=rewards.__getitem__) == ["0", "1", "2", "3", "4"]
    assert sum(rewards.values()) == pytest.approx(2.5)
    assert len(requests) == 2 * 5


def test_the_reward_is_the_mean_probability_of_being_better_than_another_answer():
    with endpoint(prefers_larger) as (url, _):
        results = compared(url, ["1", "2", "0"])
    expected = [(logistic(-1) + logistic(1)) / 2, (logistic(1) + logistic(2)) / 2]
    assert [one.reward for one in results[:2]] == pytest.approx(expected, abs=1e-6)


def test_both_orders_cancel_what_the_judge_thinks_of_the_first_place():
    with endpoint(lambda request: prefers_larger(request, bias=2.0)) as (url, _):
        low, high, equal, like_it = compared(url, ["1", "2", "1.5", "1.50"])
        two = compared(url, ["1", "1.0"])
    assert low.reward < equal.reward == pytest.approx(like_it.reward, abs=0.02)
    assert like_it.reward < high.reward
    assert [one.reward for one in two] == pytest.approx([0.5, 0.5])


def test_two_answers_are_one_pair_and_equal_answers_need_none():
    with endpoint(prefers_larger) as (url, requests):
        one, two, same = compared(url, ["1", "2", "1"])
        assert len(requests) == 2 and one.reward == same.reward < two.reward
        assert [one.reward for one in compared(url, ["1", "1", "1"])] == [0.5] * 3
        assert [one.reward for one in compared(url, ["1"])] == [0.5]
        assert len(requests) == 2


def test_a_judge_that_prefers_in_a_circle_prefers_nobody():
    better = {("a", "b"), ("b", "c"), ("c", "a")}

    def answer(request):
        *_, first, second = quoted(request)
        return says(0.9 if (first, second) in better else 0.1, ("A", "B"))

    with endpoint(answer) as (url, _):
        results = compared(url, ["a", "b", "c"])
    assert [one.reward for one in results] == pytest.approx([0.5] * 3)


def test_an_answer_that_the_judge_refuses_is_a_fault_and_the_others_are_ranked():
    def answer(request):
        refused = response({"content": None, "refusal": "no"})
        return refused if "666" in quoted(request) else prefers_larger(request)

    with endpoint(answer) as (url, _):
        low, bad, high, middle = compared(url, ["1", "666", "3", "2"])
    assert bad.fault == "judge_refused" and low.fault is None
    assert low.reward < middle.reward < high.reward


def test_one_order_alone_would_keep_the_bias_and_does_not_count():
    def answer(request):
        one_way = quoted(request)[-2:] == ["1", "2"]
        return response({"content": "both"}) if one_way else prefers_larger(request)

    with endpoint(answer) as (url, _):
        results = compared(url, ["1", "2"])
    assert [one.fault for one in results] == ["judge_unreadable"] * 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=16))
def test_a_consistent_judge_is_read_exactly(true):
    better = [logistic(true[one] - true[other]) for one, other in ring(len(true))]
    found = [value for value in strengths(len(true), better) if value is not None]
    assert [value - found[0] for value in found] == pytest.approx([t - true[0] for t in true])
    rewards = [beaten(value, found) for value in found]
    assert sum(rewards) == pytest.approx(len(true) / 2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_only_answers_that_comparisons_connect_are_ranked_together(data):
    count = data.draw(st.integers(2, 9))
    probability = st.none() | st.floats(0, 1)
    better = [data.draw(probability) for _ in ring(count)]
    found = strengths(count, better)
    ranked = {place for place, value in enumerate(found) if value is not None}
    edges = [
        pair
        for pair, p in zip(ring(count), better, strict=True)
        if p is not None and set(pair) <= ranked
    ]
    assert len(ranked) != 1 and bool(ranked) == any(p is not None for p in better)
    reached = set(list(ranked)[:1])
    for _ in range(count):
        reached |= {place for edge in edges if reached & set(edge) for place in edge}
    assert reached == ranked
