"""Answers to the verifiers that read a prompt's metadata, with the grades of a person who knew
their pages in docs/ and not their code."""

from pathlib import Path

import pytest

from evals.grading import grade_pairs
from evals.pairs import read_pairs
from stages.grading import open_grader

FILES = sorted((Path(__file__).parent / "held_out").glob("*.jsonl"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_wrong_answer_is_graded_right(file):
    pairs = read_pairs(file)
    with open_grader() as grader:
        graded = grade_pairs(pairs, grader)
    wrong = [row for row in graded["rows"] if row["expected"] != (row["reward"] >= 1.0)]
    assert graded["false_right"] == 0, [row for row in wrong if not row["expected"]]
    assert graded["false_wrong"] < 0.02 * sum(bool(pair.expected) for pair in pairs), wrong
    assert graded["faults"] == 0
