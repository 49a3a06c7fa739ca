"""Pairs of corner cases: a right answer without any case against one that shows the prompt's."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corner_cases.interface import Finding
from stages.dpo.case_pairs import (
    LENGTHS,
    NO_CASE,
    NO_CLEAN,
    CaseFigures,
    Match,
    Sample,
    balanced,
    matches,
)

FOUND = Finding("gushing", "flatters", "What a great question", 0)


def sample(text, clean=False, shown=False, fault=None, length=None, finish="stop"):
    tokens = list(range(length or len(text)))
    return Sample(text, tokens, finish, clean, FOUND if shown else None, fault)


SAMPLES = st.lists(
    st.builds(
        sample,
        text=st.text("ab ", max_size=9),
        clean=st.booleans(),
        shown=st.booleans(),
        fault=st.sampled_from([None, None, None, "timeout"]),
    ),
    max_size=8,
)


def found(samples, ratio=9.0, most=3):
    return matches("gushing", "p", samples, ratio, most)


@given(SAMPLES, st.floats(1, 4), st.integers(1, 4))
def test_a_pair_is_a_clean_answer_against_one_that_shows_the_case(samples, ratio, most):
    pairs = found(samples, ratio, most)
    if isinstance(pairs, str):
        return
    assert 1 <= len(pairs) <= most and [pair.rank for pair in pairs] == list(range(len(pairs)))
    for pair in pairs:
        assert pair.chosen.clean and pair.chosen.finding is None
        assert pair.rejected.finding is not None
        assert pair.chosen.text.strip() and pair.rejected.text.strip()
        assert not pair.chosen.fault and not pair.rejected.fault
        sizes = sorted([len(pair.chosen.token_ids), len(pair.rejected.token_ids)])
        assert sizes[1] <= ratio * sizes[0]
    rejected = [pair.rejected.text for pair in pairs]
    assert len(set(rejected)) == len(rejected)


@given(SAMPLES)
def test_the_order_of_the_answers_decides_no_lengths(samples):
    def sizes(samples):
        pairs = found(samples)
        if isinstance(pairs, str):
            return pairs
        return [(len(one.chosen.text), len(one.rejected.text)) for one in pairs]

    assert sizes(samples) == sizes(samples[::-1]) or len({s.text for s in samples}) < len(samples)


def test_the_pair_closest_in_length_is_taken_first():
    samples = [sample("a" * n, clean=True) for n in (2, 6, 9)]
    samples += [sample("b" * n, shown=True) for n in (7, 20)]
    (first, second) = found(samples)
    assert (first.chosen.text, first.rejected.text) == ("a" * 6, "b" * 7)
    assert (second.chosen.text, second.rejected.text) == ("a" * 9, "b" * 20)
    assert first.difference == 1 and len(found(samples, most=1)) == 1
    assert found(samples, ratio=2.0) == [first]


def test_a_clean_answer_is_taken_again_when_all_have_been():
    samples = [sample("a" * n, clean=True) for n in (5, 9)]
    samples += [sample("b" * n, shown=True) for n in (5, 6, 7, 8)]
    pairs = found(samples, most=4)
    assert [len(one.chosen.text) for one in pairs] in ([5, 9, 5, 9], [5, 9, 9, 5])
    assert sorted(len(one.rejected.text) for one in pairs) == [5, 6, 7, 8]
    assert len(found(samples, ratio=1.3, most=9)) == 4
    assert len(found([samples[0], *samples[2:]], ratio=1.3, most=9)) == 2


def test_lengths_are_tokens():
    samples = [sample("short", clean=True, length=30), sample("b" * 90, shown=True, length=31)]
    assert len(found(samples, ratio=1.1)) == 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], NO_CASE),
        ([sample("fine", clean=True)] * 3, NO_CASE),
        ([sample("great", shown=True)] * 3, NO_CLEAN),
        ([sample("great", shown=True), sample("wrong")], NO_CLEAN),
        ([sample("great", shown=True), sample("x", clean=True, fault="timeout")], NO_CLEAN),
        ([sample("great", shown=True, fault="cut_off"), sample("x", clean=True)], NO_CASE),
        ([sample("great", shown=True), sample("  ", clean=True)], NO_CLEAN),
        ([sample("g" * 20, shown=True), sample("x", clean=True)], LENGTHS),
    ],
)
def test_a_prompt_without_a_pair_says_why(samples, reason):
    assert found(samples) == reason


def match(case, prompt, rank=0):
    return Match(case, prompt, sample("a", clean=True), sample("b", shown=True), rank)


COUNTS = st.dictionaries(st.sampled_from(["gushing", "refusal", "overlong"]), st.integers(1, 9))


@given(COUNTS, st.integers(0, 30), st.integers(0, 3))
def test_every_case_gives_the_same_number_as_far_as_it_has_pairs(counts, most, seed):
    every = [match(case, f"p{n}") for case, count in counts.items() for n in range(count)]
    kept = balanced(every, most, seed)
    assert len(kept) == min(most, len(every))
    given_ = Counter(one.case for one in kept)
    for case, count in counts.items():
        if given_[case] < count:  # it has more: no other one got two more
            assert max(given_.values(), default=0) <= given_[case] + 1
    assert kept == balanced(every, most, seed)
    assert sorted(every.index(one) for one in kept) == [every.index(one) for one in kept]


def test_second_pairs_of_a_prompt_come_after_the_first_ones_of_all():
    every = [match("gushing", f"p{n}", rank) for n in range(5) for rank in range(2)]
    kept = balanced(every, 6, seed=1)
    assert Counter(one.rank for one in kept) == {0: 5, 1: 1}
    assert len({one.prompt_id for one in balanced(every, 5, seed=1)}) == 5
    assert balanced(every, 3, seed=1) != balanced(every, 3, seed=2)


def test_figures_are_of_the_answers_and_of_what_is_trained_on():
    figures = CaseFigures(prompts=4, answers=32, rated=30, shown=12, pairs=2)
    figures.without_pair[NO_CLEAN] += 2
    pairs = [
        match("gushing", "p").as_pair(-1.0, -3.0),
        match("gushing", "q").as_pair(-2.0, -4.0),
    ]
    found = figures.to_json(pairs)
    assert found["rate"] == 0.4 and found["trained"] == 2
    assert found["mean_tokens"] == {"chosen": 1.0, "rejected": 1.0}
    assert found["logprob_per_token"] == {"chosen": -1.5, "rejected": -3.5}
    assert CaseFigures().to_json([])["rate"] is None
    why, remedy = figures.why_none()
    assert why == "prompts: 2 without_a_clean_answer" and "SFT" in remedy
