"""Which prompts of corner cases are asked, and in which part."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders.evaluations import suite
from common.errors import BadInput
from corner_cases.registry import CASES
from corner_cases.sets import group_of
from evals.guarded import packaged_texts
from evals.parts import DEV, PARTS, in_part
from evals.suites import load_dev, load_suite, sample
from prompts.decontaminate import decontaminate
from stages.dev_prompts import dev_prompts
from stages.rl.evaluation import RlEvaluation

ALL = load_suite(suite("corner_cases"), None)


def drawn(limit=None, cases=None):
    """The suite's prompts with these settings, without reading them again."""
    return sample([p for p in ALL if p.capability in (cases or CASES)], "corner_cases", limit)


def questions(prompts):
    """How many questions of each case there are."""
    units = {(p.capability, group_of(p) or p.id) for p in prompts}
    return Counter(case for case, _ in units)


def together(prompts):
    """The ids of the prompts, by what they share."""
    groups: dict[str, set[str]] = {}
    for prompt in prompts:
        groups.setdefault(group_of(prompt) or prompt.id, set()).add(prompt.id)
    return groups


def test_the_suite_has_every_case_and_may_be_some_of_them():
    assert len(ALL) == 848 and list(dict.fromkeys(p.capability for p in ALL)) == list(CASES)
    config = suite("corner_cases", cases=["refusal", "repetition"], limit=20)
    assert load_suite(config, None) == drawn(20, ["repetition", "refusal"])


def test_what_belongs_together_is_in_one_part():
    dev, final = (together(in_part(ALL, part)) for part in PARTS)
    assert not set(dev) & set(final)
    twins = [key for key in {**dev, **final} if key.startswith("pair:")]
    assert len(twins) == 63
    assert all(len({**dev, **final}[key]) == 2 for key in twins)


def test_every_case_has_prompts_to_compare_in_both_parts():
    for part in PARTS:
        assert all(count >= 7 for count in questions(in_part(ALL, part)).values())
        assert set(questions(in_part(ALL, part))) == set(CASES)


def test_the_parts_stay_as_they_are():
    # Changing these moves the prompts of finished runs: raise the version of the evaluate stage.
    dev = {p.id for p in in_part(ALL, DEV)}
    assert {"language_change:sum-02:en", "refusal:steal-base", "repetition:squares"} <= dev
    assert not {"language_change:sum-01:en", "refusal:kill-process", "repetition:count-30"} & dev


CHOSEN = st.sets(st.sampled_from(list(CASES)), min_size=1).map(sorted)


@settings(max_examples=30, deadline=None)
@given(CHOSEN, st.integers(32, 848))
def test_a_limit_draws_every_case_as_often_and_questions_whole(cases, limit):
    whole, some = drawn(cases=cases), drawn(limit, cases)
    assert limit - 8 < len(some) <= limit or some == whole
    groups = together(whole)
    assert all(ids == groups[key] for key, ids in together(some).items())
    for part in PARTS:
        there, got = (questions(in_part(prompts, part)) for prompts in (whole, some))
        assert all(got[case] >= 1 for case in cases)
        # Of those that are not used up no case is more than one round behind another.
        open_ones = [got[case] for case in cases if got[case] < there[case]]
        assert not open_ones or max(got.values()) - min(open_ones) <= 1


@settings(max_examples=30, deadline=None)
@given(CHOSEN, st.integers(32, 400), st.integers(0, 300))
def test_a_smaller_limit_takes_a_subset(cases, limit, more):
    few, many = ({p.id for p in drawn(n, cases)} for n in (limit, limit + more))
    assert few <= many


def test_a_limit_without_room_for_every_case_is_refused():
    assert set(questions(drawn(32))) == set(CASES) and len(drawn(32)) == 32
    with pytest.raises(BadInput, match="takes 32 prompts") as refused:
        drawn(31)
    assert "at least 32, or fewer `cases`" in refused.value.remedy
    assert len(drawn(4, ["repetition", "gushing"])) == 4
    # Twins are drawn as one.
    assert questions(drawn(4, ["refusal", "compliance"])) == {"refusal": 2, "compliance": 2}


def test_rl_asks_the_dev_prompts_of_the_suite_with_a_limit():
    asked = load_dev(suite("corner_cases"), 16, None)
    assert asked == in_part(drawn(32), DEV)
    with pytest.raises(BadInput, match="takes 16 prompts"):
        load_dev(suite("corner_cases"), 15, None)
    own = RlEvaluation(every=1, suite="corner_cases", cases=("gushing",), limit=3)
    dev = dev_prompts(own, "evaluate", None)
    assert questions(dev) == {"gushing": 3} and in_part(dev, DEV) == dev


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "corner_cases", "cases": ["refusals"]}, "'repetition', 'refusal'"),
        ({"name": "corner_cases", "cases": []}, "at least 1"),
        ({"name": "corner_cases", "cases": ["refusal", "refusal"]}, "named twice"),
        ({"name": "gsm8k", "cases": ["refusal"]}, "gsm8k has no cases"),
        ({"name": "corner_cases", "pass_at": 0.5}, "leave `pass_at` out"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        suite(**fields)
    own = {"every": 1, "suite": fields["name"], **{k: v for k, v in fields.items() if k != "name"}}
    with pytest.raises(ValidationError, match=said):
        RlEvaluation(**own)


def test_the_order_of_cases_says_nothing():
    assert suite("corner_cases", cases=["refusal", "repetition"]) == suite(
        "corner_cases", cases=["repetition", "refusal"]
    )


def test_nothing_is_trained_on_the_prompts_of_the_suite():
    kept, overlaps = decontaminate(ALL, packaged_texts())
    assert kept == [] and {overlap.suite for overlap in overlaps} == {"corner_cases"}
