"""Answers with the grade a person gives them (`grading/`, written from docs/grading.md), and
`uphill grade`."""

import json
from pathlib import Path

import pytest

from common.errors import BadInput
from common.thinking import answer_part, opened_by
from evals.grading import grade_pairs
from evals.pairs import read_pairs

FILES = sorted((Path(__file__).parent / "grading").glob("*.jsonl"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_wrong_answer_is_graded_right(file):
    graded = grade_pairs(read_pairs(file))
    rows = graded["rows"]
    wrong = [row for row in rows if row["expected"] != (row["reward"] >= 1.0)]
    assert graded["false_right"] == 0, [row for row in wrong if not row["expected"]]
    assert graded["false_wrong"] < 0.01 * sum(row["expected"] for row in rows), wrong
    assert {row["fault"] for row in rows} <= {None, "cut_off"}


def test_the_pairs_are_many_and_different_with_right_and_wrong_answers():
    pairs = [pair for file in FILES for pair in read_pairs(file)]
    assert len(pairs) >= 4000
    different = {(pair.verifier, pair.reference, pair.answer, pair.prompt) for pair in pairs}
    assert len(different) == len(pairs)
    for verifier in ("number", "math", "choice", "exact"):
        expected = [pair.expected for pair in pairs if pair.verifier == verifier]
        assert min(expected.count(True), expected.count(False)) >= 150, verifier


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("5", "5"),
        ("<think>7</think>5", "5"),
        ("7</think>5", "5"),
        ("<THINK>7</Think>5", "5"),
        ("<think>a<think>b</think>c</think>5", "5"),
        ("A <think>x</think>B", "A B"),
        ("[THINK]7[/THINK]5", "5"),
        (
            "<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>final<|message|>5",
            "5",
        ),
        ("<think>7", None),
        ("5 <reasoning>or", None),
    ],
)
def test_thinking_is_removed(text, left):
    assert answer_part(text) == left


def test_a_prompt_may_open_the_thinking():
    assert opened_by("<|assistant|>\n<think>\n") == "<think>"
    assert opened_by("<|assistant|>\n<think>\n\n</think>\n") == opened_by("<|assistant|>\n") == ""


def test_grade_prints_the_answer_that_was_read(uphill):
    answers = ("12 apples", "12 or 13", "<think>12")
    command = ("grade", "--verifier", "number", "--reference", "12", "--json", *answers)
    code, out, _ = uphill(*command)
    document = json.loads(out)
    assert code == 0
    assert [(row["reward"], row["fault"]) for row in document["rows"]] == [
        (1.0, None),
        (0.0, None),
        (0.0, "cut_off"),
    ]
    given, graded = {"verifier", "reference", "answer", "expected"}, {"read", "reward", "fault"}
    assert set(document["rows"][0]) == given | graded


def test_grade_counts_differences_to_the_expected_grades(uphill, tmp_path):
    file = tmp_path / "pairs.jsonl"
    rows = [("12", "12", False), ("12", "13", True), ("12", "12", True), ("12", "13", None)]
    lines = [
        {"verifier": "number", "reference": r, "answer": a} | ({} if e is None else {"expected": e})
        for r, a, e in rows
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    _, out, _ = uphill("grade", "--file", file, "--json")
    document = json.loads(out)
    assert (document["false_right"], document["false_wrong"]) == (1, 1)
    code, out, err = uphill("grade", "--file", file)
    assert code == 0 and "s per 1,000" in err
    assert "FALSE RIGHT" in out and "false right: 1 of 1" in out


def test_grade_says_why_a_reference_is_refused(uphill):
    code, out, err = uphill("grade", "--verifier", "number", "--reference", "3 to 5", "4")
    assert code == 0 and "bad_reference" in out and "'3 to 5': it is not one number" in err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"verifier": "number", "reference": "1"}', r":1: `?answer"),
        (
            '{"verifier": "nummer", "reference": "1", "answer": "1"}',
            ":1: no verifier is named 'nummer'",
        ),
        (
            '{"verifier": "reasoning_gym", "reference": "1", "answer": "1"}',
            ":1: reasoning_gym grades",
        ),
        ("[1]", ":1: "),
        ("", "holds no pairs"),
    ],
)
def test_wrong_files_are_named_with_the_line(tmp_path, line, problem):
    file = tmp_path / "pairs.jsonl"
    file.write_text(line)
    with pytest.raises(BadInput, match=problem):
        read_pairs(file)


def test_grade_needs_a_file_or_answers(uphill):
    for arguments in (
        ["grade"],
        ["grade", "--verifier", "number", "4"],
        ["grade", "--file", "x", "4"],
    ):
        code, _, err = uphill(*arguments)
        assert code == 2 and "uphill grade --verifier" in err
