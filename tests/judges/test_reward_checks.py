"""What is wrong with a rubric or its judge is said before anything is asked."""

import pytest

from builders.judged_rewards import grader_with, judge_part, judged, judges_with, says
from builders.scripted_endpoint import endpoint
from common.errors import BadInput
from judges.reward_compare import Compare
from judges.reward_rubric import Rubric
from prompts.parts import read_part
from rewards.grade import check_prompt

KINDS = {"rubric": Rubric(judges_with()), "compare": Compare(judges_with())}
URL = "http://localhost:1/v1"


def problem(part, **prompt):
    """The message about a prompt with this part of a reward."""
    with pytest.raises(BadInput) as caught:
        check_prompt(judged(part, **prompt), KINDS)
    return str(caught.value)


def test_a_right_prompt_passes_and_nothing_is_asked():
    check_prompt(judged(judge_part(URL)), KINDS)
    check_prompt(judged(judge_part(URL, "compare")), KINDS)
    check_prompt(judged(judge_part(URL, items=[]), rubric=[{"item": "is kind"}]), KINDS)


@pytest.mark.parametrize(
    ("rubric", "message"),
    [
        ([], "metadata.rubric is not a list of items, got []"),
        ("be kind", "metadata.rubric is not a list of items, got 'be kind'"),
        (["be kind"], "metadata.rubric[0] is not an object"),
        ([{"item": "a"}, {"item": " "}], "metadata.rubric[1].item is blank, got ' '"),
        ([{"weight": 2}], "metadata.rubric[0].item is missing"),
        ([{"item": 5}], "metadata.rubric[0].item is not a text, got 5"),
        ([{"item": "a", "weight": 0}], "metadata.rubric[0].weight is not a number above 0, got 0"),
        ([{"item": "a", "weight": "2"}], "metadata.rubric[0].weight is not a number above 0"),
        ([{"item": "a", "weight": None}], "metadata.rubric[0].weight is not a number above 0"),
        ([{"item": "a", "points": 1}], "metadata.rubric[0].points is no field of an item"),
        ([{"item": "a"}, {"item": "a"}], "metadata.rubric: two items are 'a'"),
    ],
)
def test_a_wrong_rubric_is_named_with_its_place_and_an_example(rubric, message):
    found = problem(judge_part(URL), rubric=rubric)
    assert found.startswith("prompt p0: ") and message in found
    assert "states the unit" in found or "the whole weight" in found


def test_a_prompt_without_any_rubric_is_refused():
    assert "it has no rubric" in problem(judge_part(URL, items=[]))


def test_a_missing_reference_that_the_judge_would_see_is_refused():
    for verifier in KINDS:
        part = judge_part(URL, verifier, show_reference=True)
        assert "has no reference answer" in problem(part, answer="")


@pytest.mark.parametrize(
    ("verifier", "settings", "prompt"),
    [
        ("rubric", {"items": []}, {}),
        ("rubric", {}, {"rubric": "be kind"}),
        ("rubric", {"show_reference": True}, {"answer": ""}),
        ("compare", {"show_reference": True}, {"answer": ""}),
    ],
)
def test_what_was_never_checked_is_a_fault_when_it_is_graded(verifier, settings, prompt):
    with endpoint(lambda request: says(0.9)) as (url, requests), grader_with() as grader:
        grades = grader.group(judged(judge_part(url, verifier, **settings), **prompt), ["a", "b"])
    assert [one.fault for one in grades] == ["bad_reference"] * 2 and not requests


def test_a_rubric_that_is_null_is_that_of_the_source():
    check_prompt(judged(judge_part(URL), rubric=None), KINDS)


@pytest.mark.parametrize("verifier", KINDS)
def test_a_missing_key_and_a_short_context_are_known_before_the_judge_starts(verifier, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    kind, keyed = KINDS[verifier], read_part(judge_part(URL, verifier, api_key_env="NO_SUCH_KEY"))
    with pytest.raises(BadInput, match="NO_SUCH_KEY, which is not set"):
        kind.require(keyed)
    monkeypatch.setenv("NO_SUCH_KEY", "secret")
    kind.require(keyed)
    local = {"verifier": verifier, "model": "smollm2-135m-instruct"}
    kind.require(read_part(local))
    with pytest.raises(BadInput, match="longer than the model's context of 8192 tokens"):
        kind.require(read_part({**local, "max_model_len": 9000}))


def test_a_rubric_without_a_judge_is_refused_with_an_example():
    with pytest.raises(BadInput, match="name exactly one of model and url; got neither") as caught:
        read_part({"verifier": "rubric"})
    assert "rewards: [{verifier: rubric, ...}]" in caught.value.remedy
    with pytest.raises(BadInput, match="wrong settings: concurrency: "):
        read_part({"verifier": "rubric", "concurrency": 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"items": [{"item": "a"}, {"item": "a"}]}, "two items are 'a'"),
        ({"max_model_len": 512}, "max_model_len only apply to model"),
        ({"url": "http://key@x/v1"}, "must not hold a name or password"),
        ({"model_name": None}, "url needs model_name"),
    ],
)
def test_a_recipes_wrong_settings_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        read_part(judge_part(URL) | settings)
