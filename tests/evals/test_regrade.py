"""Stored rollouts and evaluation answers, graded again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from builders.corner_evaluations import NO, asked, of_case, question
from builders.evaluations import suite
from builders.single_prompts import prompt_of
from common.errors import BadInput
from common.files import write_json_lines
from corner_cases.registry import CASES
from evals.answer import Answer
from evals.figures import summary
from evals.protocol import remarks
from evals.regrade import StoredAnswer, answers, regrade, require_answers, rollouts
from prompts.schema import write_prompts
from rewards.grader import Grader
from rewards.interface import OpenVerifier, Result, Verifier


def prompt(id="a", answer="12"):
    return prompt_of(id, "q", answer, verifier="number")


def member(text, reward, fault=None, finish="stop"):
    return {"text": text, "finish": finish, "token_ids": [1], "reward": reward, "fault": fault}


def test_changed_grades_of_rollouts_are_counted_by_kind(tmp_path):
    write_prompts(tmp_path / "prompts.parquet", [prompt()])
    members = [
        member("12", 1.0),
        member("12 or 13", 1.0),
        member("12 apples", 0.0),
        member("12", 0.0, fault="timeout"),
        member("<think>12", 1.0),
        member("12", 0.0, fault="cut_off", finish="length"),
    ]
    write_json_lines(tmp_path / "groups.jsonl", [{"prompt_id": "a", "members": members}])
    regraded = regrade("rl", list(rollouts(tmp_path)), Grader())
    counts = {name: regraded[name] for name in regraded if name not in ("stage", "examples")}
    assert counts == {
        "answers": 5,
        "changed": 4,
        "right_to_wrong": 1,
        "wrong_to_right": 1,
        "fault_to_graded": 1,
        "graded_to_fault": 1,
        "other_reward": 2,
    }
    grades = [example["is"] for example in regraded["examples"]]
    assert grades == ["wrong", "right", "right", "cut_off"]
    assert regraded["examples"][0]["text"] == "12 or 13" and json.dumps(regraded)


def test_answers_of_an_evaluation_are_matched_with_their_prompts(tmp_path):
    write_prompts(tmp_path / "held_out.parquet", [prompt("a"), prompt("b", "7")])
    base = {"suite": "held_out", "finish": "stop", "fault": None, "tokens": 1}
    rows = [
        {**base, "id": "a", "text": "12", "correct": True},
        {**base, "id": "b", "text": "12", "correct": True},
        {**base, "id": "b", "text": "", "correct": False, "fault": "too_long", "finish": None},
    ]
    write_json_lines(tmp_path / "answers.jsonl", rows)
    regraded = regrade("eval-rl", list(answers(tmp_path, [suite()], tmp_path)), Grader())
    counts = [regraded[name] for name in ("answers", "changed", "right_to_wrong")]
    assert counts == [2, 1, 1]


def test_unclosed_thinking_counts_as_wrong_and_is_reported():
    base: dict[str, Any] = {
        "suite": "held_out",
        "capability": "c",
        "answer": None,
        "reference": "12",
        "text": "",
        "tokens": 1,
    }
    done = Answer(**base, id="a", correct=True, fault=None, finish="stop")
    open_ended = Answer(**base, id="b", correct=False, fault="cut_off", finish="stop")
    result = summary([done, open_ended])
    assert (result["score"], result["n"], result["faults"], result["cut_off"]) == (0.5, 2, 0, 1)
    assert "never ended their thinking" in remarks(suite(), [done, open_ended], 512)[0]


def test_nothing_to_grade_is_bad_input():
    with pytest.raises(BadInput, match="no finished RL stage"):
        require_answers([], "run")
    assert regrade("rl", [StoredAnswer(prompt(), "12", 2, True, None)], Grader())["changed"] == 0


class Longest(Verifier, OpenVerifier):
    """Only the longest answer of a group is right."""

    slow = False

    def check(self, prompt, part):
        pass

    def open(self, part, resources):
        return self

    def grade(self, prompt, answers):
        longest = max(len(answer.text) for answer in answers)
        return [Result(float(len(answer.text) == longest)) for answer in answers]

    def close(self):
        pass


def test_answers_that_were_graded_together_are_graded_together_again(tmp_path):
    prompt = prompt_of("a", "q", "12", verifier="longest")
    write_prompts(tmp_path / "prompts.parquet", [prompt])
    groups = [
        {"prompt_id": "a", "members": [member("ab", 0.0), member("abc", 1.0)]},
        {"prompt_id": "a", "members": [member("a", 0.0), member("ab", 1.0)]},
    ]
    write_json_lines(tmp_path / "groups.jsonl", groups)
    regraded = regrade("rl", list(rollouts(tmp_path)), Grader({"longest": Longest()}))
    assert (regraded["answers"], regraded["changed"]) == (4, 0)


def test_answers_to_corner_cases_are_examined_again(tmp_path, monkeypatch):
    prompts = [*of_case("refusal", 2), *question()]
    replies = {prompts[0].id: NO, prompts[3].id: "99"}
    rows = [answer.to_json() for answer in asked(prompts, replies)]
    write_json_lines(tmp_path / "answers.jsonl", rows)
    stored = list(answers(tmp_path, [suite("corner_cases")], None))
    found = regrade("eval-rl", stored, Grader())
    assert (found["answers"], found["changed"], found["other_reward"]) == (10, 0, 0)
    blind = replace(CASES["refusal"], detect=lambda prompt, reply: None)
    monkeypatch.setitem(CASES, "refusal", blind)
    found = regrade("eval-rl", stored, Grader())
    assert (found["changed"], found["wrong_to_right"]) == (1, 1)
    assert found["examples"][0]["id"] == prompts[0].id
    assert found["examples"][0]["verifier"] == "refusal"


def test_what_is_left_of_a_question_is_not_examined_again(tmp_path):
    prompts = question()
    rows = [answer.to_json() for answer in asked(prompts, {prompts[0].id: "<think>"})]
    write_json_lines(tmp_path / "answers.jsonl", rows)
    stored = list(answers(tmp_path, [suite("corner_cases")], None))
    assert [one.prompt.id for one in stored] == [prompts[0].id]
    assert regrade("eval-rl", stored, Grader())["changed"] == 0
