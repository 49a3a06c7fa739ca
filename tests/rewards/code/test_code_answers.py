"""Answers to code tasks with the reward that a person gives them (`answers.yaml`)."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from builders.code_prompts import code_grades, code_prompt, noted
from rewards.grader import Grader

TASKS = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["task"])
def test_every_answer_has_the_reward_that_a_person_gives(task):
    pairs = task["answers"]
    answers = [pair["answer"] for pair in pairs]
    results = code_grades(task["tests"], *answers, partial=task.get("partial", False))
    wrong = [
        f"expected {pair['expected']}: {pair['answer']}\n{result.reward} {result.read}"
        for pair, result in zip(pairs, results, strict=True)
        if result.fault is not None or result.reward != pytest.approx(pair["expected"])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_pairs_are_many_and_different_with_right_and_wrong_answers():
    pairs = [(task["task"], pair["answer"]) for task in TASKS for pair in task["answers"]]
    expected = [pair["expected"] for task in TASKS for pair in task["answers"]]
    assert len(set(pairs)) == len(pairs) >= 60
    assert min(expected.count(1), expected.count(0)) >= 25


def test_the_user_is_told_how_many_answers_had_which_outcome():
    answers = ["def f(): return 1", "def f(): return 2", "def f(): return 1", "Hello."]
    assert noted(["assert f() == 1"], *answers) == ["code: 2 passed, 1 no_code, 1 wrong"]


def test_a_grader_grades_a_group_with_thinking_and_two_parts():
    tests = {"test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]}
    rewards = (
        {"verifier": "code", "weight": 3, "partial": True},
        {"verifier": "exact", "name": "copied"},
    )
    right = "```python\ndef add(a, b):\n    return a + b\n```"
    prompt = replace(code_prompt(tests, right), rewards=rewards)
    half = right.replace("a + b", "3")
    with Grader() as grader:
        grades = grader.group(prompt, [f"<think>hm</think>{right}", half, "<think>never closed"])
    assert [grade.parts.get("code") for grade in grades] == [1.0, 0.5, None]
    assert grades[1].reward == pytest.approx(0.375)
    assert [grade.fault for grade in grades] == [None, None, "cut_off"]
