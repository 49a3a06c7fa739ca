"""Filtering: an exact share, floors, ties, and prompts that are broken rather than hard."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput, RunFailed
from judges.filtering import (
    FilterSettings,
    JudgedPrompt,
    broken_evidence,
    drop_counts,
    drop_easiest,
    ease_ranks,
    tied_at_threshold,
)
from judges.verdict import Reply, Verdict


def judged(id, ease, capability="x", likelihood=None, evidence=None):
    return JudgedPrompt(id, capability, ease, likelihood, "as described", evidence or {})


def drop_settings(share, stratified=True, floor=1, seed=3):
    return FilterSettings(share, stratified, floor, seed)


def with_outcome(decisions, outcome):
    return {id for id, decision in decisions.items() if decision.decision == outcome}


def dropped(pool, config):
    return with_outcome(drop_easiest(pool, config), "dropped")


rows = st.tuples(
    st.sampled_from("abc"),
    st.none() | st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    st.none() | st.floats(-9, 0),
    st.booleans(),
)
pools = st.lists(rows, min_size=1, max_size=40).map(
    lambda drawn: [
        judged(f"p{n}", e, c, lk, {"8": 4} if b else None) for n, (c, e, lk, b) in enumerate(drawn)
    ]
)


def decisions_or_none(pool, config):
    """The decisions with the ranked prompts; None if the share cannot be dropped, which is
    checked."""
    judged = [o for o in pool if o.ease is not None and not o.evidence]
    try:
        return drop_easiest(pool, config), judged
    except RunFailed:
        assert {o.capability for o in judged} < {o.capability for o in pool}
    except BadInput:
        sizes = [
            sum(o.capability == name for o in judged) for name in {o.capability for o in judged}
        ]
        spare = sum(max(size - config.floor, 0) for size in sizes)
        assert (
            round(100 * config.share) * len(judged) + 50 >= 100 * (spare + 1)
            or min(sizes) < config.floor
        )
    return None, judged


@settings(max_examples=300, deadline=None)
@given(
    pools, st.integers(0, 99), st.booleans(), st.integers(1, 3), st.randoms(use_true_random=False)
)
def test_the_share_is_exact_keeps_every_capability_and_ignores_order(
    pool, percent, stratified, floor, shuffler
):
    config = drop_settings(percent / 100, stratified, floor)
    decisions, judged = decisions_or_none(pool, config)
    if decisions is None:
        return
    assert len(with_outcome(decisions, "dropped")) == (percent * len(judged) + 50) // 100
    assert with_outcome(decisions, "broken") == {o.id for o in pool if o.evidence}
    assert with_outcome(decisions, "unjudged") == {
        o.id for o in pool if o.ease is None and not o.evidence
    }
    kept = [o.capability for o in pool if decisions[o.id].decision == "kept"]
    assert all(kept.count(name) >= floor for name in {o.capability for o in pool})
    assert drop_easiest(shuffler.sample(pool, len(pool)), config) == decisions


@settings(max_examples=200, deadline=None)
@given(pools, st.floats(0, 0.7), st.booleans())
def test_a_dropped_prompt_is_never_harder_than_a_kept_one_of_its_capability(
    pool, share, stratified
):
    decisions, _ = decisions_or_none(pool, drop_settings(round(share, 2), stratified))
    for one in decisions.values() if decisions else ():
        for other in decisions.values():
            if (one.decision, other.decision) == (
                "dropped",
                "kept",
            ) and one.capability == other.capability:
                assert one.ease >= other.ease and one.rank < other.rank
                if one.ease == other.ease and one.likelihood is not None:
                    assert other.likelihood is None or one.likelihood >= other.likelihood


def test_unstratified_drops_the_easiest_of_all_capabilities_down_to_the_floor():
    pool = [judged(f"e{n}", 0.9, "easy") for n in range(6)] + [
        judged(f"h{n}", 0.1, "hard") for n in range(6)
    ]
    decisions = drop_easiest(pool, drop_settings(0.5, stratified=False, floor=2))
    assert {id[0] for id in with_outcome(decisions, "dropped")} == {"e", "h"}
    assert sum(id[0] == "e" for id in with_outcome(decisions, "kept")) == 2
    assert {id[0] for id in dropped(pool, drop_settings(0.33, stratified=False))} == {"e"}
    assert sum(id[0] == "h" for id in dropped(pool, drop_settings(0.5))) == 3


def test_equal_ease_is_ranked_by_likelihood_and_then_by_seed():
    pool = [
        judged("a", 0.2, likelihood=-3.0),
        judged("b", 0.2, likelihood=-1.0),
        judged("c", 0.2, likelihood=-2.0),
    ]
    assert dropped(pool, drop_settings(0.34)) == {"b"}
    equal = [judged(name, 0.8) for name in "abcdef"]
    first = {min(dropped(equal, drop_settings(0.2, seed=seed))) for seed in range(60)}
    assert first == set("abcdef")


def test_the_rank_of_the_cut_orders_equal_ease_by_likelihood_within_a_capability():
    pool = [
        judged("a", 0.2, "x", likelihood=-3.0),
        judged("b", 0.2, "x", likelihood=-1.0),
        judged("c", 0.9, "x"),
        judged("d", 0.1, "x"),
        judged("e", 0.1, "y"),
        judged("f", 0.1, "y"),
        judged("g", None, "y"),
    ]
    decisions = drop_easiest(pool, drop_settings(0.5))
    ranks = ease_ranks(decisions, stratified=True)
    assert ranks == {"c": 0.875, "b": 0.625, "a": 0.375, "d": 0.125, "e": 0.5, "f": 0.5}
    every = ease_ranks(drop_easiest(pool, drop_settings(0.5, stratified=False)), stratified=False)
    assert sorted(every, key=lambda id: every[id])[3:] == ["a", "b", "c"]
    assert every["d"] == every["e"] == every["f"] == 0.25


def test_only_equal_prompts_on_both_sides_of_the_threshold_are_tied():
    pool = [
        judged("a", 0.9),
        *(judged(name, 0.5) for name in "bcd"),
        judged("e", 0.1),
        judged("f", 0.1),
    ]
    assert sorted(tied_at_threshold(pool, drop_settings(0.34))) == ["b", "c", "d"]
    assert tied_at_threshold([judged("a", 0.9), judged("b", 0.5)], drop_settings(0.5)) == []


def test_the_share_is_rounded_as_written_and_an_impossible_floor_is_refused():
    assert sum(drop_counts({"a": 60, "b": 40}, drop_settings(0.145)).values()) == 15
    assert drop_counts({"a": 60, "b": 40}, drop_settings(0.5)) == {"a": 30, "b": 20}
    with pytest.raises(BadInput, match=r"drop_easiest 0\.9 drops 4 of 4"):
        drop_counts({"a": 2, "b": 2}, drop_settings(0.9))
    with pytest.raises(BadInput, match=r"must keep 3 \(b: 2\)"):
        drop_counts({"a": 20, "b": 2}, drop_settings(0.1, floor=3))


def test_a_capability_without_any_verdict_ends_the_run():
    with pytest.raises(
        RunFailed,
        match=r"no prompt of capability 'y' could be judged: 0 of 1 look broken .*; as described",
    ) as caught:
        drop_easiest([judged("a", 0.5), judged("b", None, "y")], drop_settings(0.0))
    assert "max_tokens" in caught.value.remedy
    with pytest.raises(RunFailed) as caught:
        drop_easiest(
            [judged("a", 0.5), judged("b", 0.1, "y", evidence={"8": 4})], drop_settings(0.0)
        )
    assert "reference answers" in caught.value.remedy


def verdict(*answers, right=(), kind="attempts"):
    replies = [Reply(a, "stop", 1, a, float(n in right), None) for n, a in enumerate(answers)]
    return Verdict("p", kind, replies, 0.2)


def test_a_prompt_is_broken_if_no_attempt_is_right_and_all_agree_on_another_answer():
    assert broken_evidence([verdict("8", "8", " 8", "8")], 1.0) == {"8": 4}
    assert broken_evidence([verdict("8", "8", "8", "9")], 1.0) == {} and broken_evidence(
        [verdict("8", "8", "8", "9")], 0.75
    )
    assert broken_evidence([verdict("8", "8", "8")], 1.0) == {}  # too few to tell
    assert broken_evidence([verdict("8", "8", "8", "8", "7", right={4})], 0.6) == {}
    assert broken_evidence([verdict("8", "8"), verdict("8", "8")], 1.0) == {"8": 4}
    assert broken_evidence([verdict("8", "8", "8", "8", kind="rubric")], 0.6) == {}
    decisions = drop_easiest(
        [judged("a", 0.5), judged("b", 0.1, evidence={"8": 4})], drop_settings(0.0)
    )
    assert decisions["b"].decision == "broken" and "'8' 4 times" in decisions["b"].reason
