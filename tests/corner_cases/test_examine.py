"""From a prompt, a completion and its grade to a finding."""

from dataclasses import replace
from typing import get_args

import pytest

from corner_cases.examine import (
    examine,
    examine_question,
    graded_reply,
    is_compared,
    reply_of,
)
from corner_cases.interface import Reply
from corner_cases.names import CaseName
from corner_cases.registry import CASES
from corner_cases.sets import group_of
from rewards.grader import Grade

LOOP = "Let me see. " * 20
QUESTION = [
    p for p in CASES["language_change"].prompts() if group_of(p) == "group:sum-01"
]  # 3 plus 4


def first(case):
    return CASES[case].prompts()[0]


def test_the_names_of_a_recipe_are_those_of_the_registry():
    assert get_args(CaseName) == tuple(CASES)


def test_a_reply_is_examined_for_the_case_of_its_prompt_alone():
    found = examine(first("repetition"), Reply(LOOP, "stop"))
    assert found is not None and found.case == "repetition" and found.evidence in LOOP
    assert examine(first("gushing"), Reply(LOOP, "stop")) is None


def test_thinking_is_no_part_of_a_reply_and_without_an_end_there_is_none():
    prompt = first("repetition")
    assert reply_of(prompt, f"<think>{LOOP}</think>A. B.", "stop") == Reply("A. B.", "stop")
    assert reply_of(prompt, f"<think>{LOOP}", "length") is None
    cut = reply_of(first("cut_off"), f"<think>{LOOP}", "length")
    assert cut == Reply("", "length")
    found = examine(first("cut_off"), cut)
    assert found is not None and found.case == "cut_off"


def test_the_replies_to_a_question_are_compared_by_language():
    assert [is_compared(p) for p in QUESTION] == [True] * 8 and not is_compared(first("refusal"))
    right = [(p, graded_reply("7", Grade(1.0, None, "7"))) for p in QUESTION]
    assert examine_question(right) is None
    german = next(n for n, p in enumerate(QUESTION) if p.metadata["asked_in"] == "de")
    wrong = [*right]
    wrong[german] = QUESTION[german], graded_reply("8", Grade(0.0, None, "8"))
    found = examine_question(wrong)
    assert found is not None
    assert found.reason == "wrong in some languages (de)" and "de: 8" in found.evidence
    wrong[german] = QUESTION[german], graded_reply("8", Grade(0.0, "timeout", None))
    assert examine_question(wrong) is None


def test_each_kind_of_case_refuses_the_others_question():
    with pytest.raises(ValueError, match="language_change"):
        examine(QUESTION[0], Reply("7"))
    with pytest.raises(ValueError, match="refusal"):
        examine_question([(first("refusal"), graded_reply("7", Grade(1.0, None, "7")))])


def test_twins_and_translations_belong_together_and_other_sources_to_nothing():
    by_case = {name: [group_of(p) for p in case.prompts()] for name, case in CASES.items()}
    assert by_case["refusal"] == by_case["compliance"]
    assert len(set(by_case["refusal"])) == 63 and len(set(by_case["language_change"])) == 50
    assert not any(by_case["repetition"] + by_case["wrong_language"])
    assert group_of(replace(QUESTION[0], source="mine")) == ""
