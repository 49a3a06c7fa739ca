"""Answers to code tasks with the reward that a person gives them (`answers.yaml`)."""

from pathlib import Path

import pytest
import yaml

from builders.code_prompts import code_grades

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
