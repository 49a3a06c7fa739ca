"""`uphill grade --file` with all that a prompt can hold."""

import json

import pytest

from common.errors import BadInput
from evals.grading import fault_remarks, grade_pairs
from evals.pairs import read_pairs
from prompts.config import ReasoningGymSource
from prompts.sources import load_source
from rewards.grader import Grader
from rewards.interface import BadPrompt, OpenVerifier, Result, Verifier
from rewards.kinds import KINDS

FUNCTION = """
def score(prompt, answer):
    least = prompt["metadata"].get("least", 0)
    if answer == "crash":
        raise RuntimeError("it broke")
    return 2 if answer == "two" else float(len(answer) >= least)
"""
PARTS = [{"verifier": "exact"}, {"verifier": "function", "file": "mine.py", "weight": 3}]


class Ranking(Verifier, OpenVerifier):
    """Grades a group by length: needs all answers to a prompt at once, and a rubric."""

    slow = True

    def __init__(self):
        self.groups, self.tokens = [], []

    def check(self, prompt, part):
        if "rubric" not in prompt.metadata:
            raise BadPrompt("comes without a rubric", "give it `metadata: {rubric: ...}`")

    def open(self, part, resources):
        return self

    def grade(self, prompt, answers):
        if "rubric" not in prompt.metadata:
            return [Result(fault="bad_reference")] * len(answers)
        self.groups.append([answer.text for answer in answers])
        self.tokens += [answer.tokens for answer in answers]
        longest = max(len(answer.text) for answer in answers)
        return [Result(len(answer.text) / longest) for answer in answers]

    def close(self):
        pass


@pytest.fixture
def write(tmp_path):
    """Writes rows, and a function beside them; gives the file."""
    (tmp_path / "mine.py").write_text(FUNCTION)

    def write(*rows):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return file

    return write


def test_rewards_are_shown_by_part_and_faults_with_their_remedy(write, uphill, caplog):
    row = {"prompt": "q", "reference": "long", "metadata": {"least": 3}, "rewards": PARTS}
    answers = ("long", "other", "no", "crash", "two")
    file = write(*({**row, "answer": answer} for answer in answers))
    code, out, err = uphill("grade", "--file", str(file))
    assert code == 0
    assert "exact, function" in out and "1 (exact 1, function 1)" in out
    assert "0.75 (exact 0, function 1)" in out and "0 (exact 0, function 0)" in out
    assert "1 verifier_crash: look at the verifier" in err
    assert "RuntimeError: it broke" in caplog.text
    assert "1 no_reward: let your function return a number from 0 to 1" in err
    rows = json.loads(uphill("grade", "--file", str(file), "--json")[1])["rows"]
    assert [row["fault"] for row in rows] == [None, None, None, "verifier_crash", "no_reward"]
    assert rows[1]["parts"] == {"exact": 0.0, "function": 1.0} and "parts" not in rows[3]


def test_the_answers_to_a_prompt_are_graded_together_and_in_order(write):
    ranking = Ranking()
    row = {"verifier": "ranking", "metadata": {"rubric": "longer"}}
    one, other = {**row, "prompt": "one"}, {**row, "messages": [{"role": "user", "content": "2"}]}
    file = write(
        {**one, "answer": "ab", "tokens": 3},
        {**other, "answer": "abcd"},
        {**one, "tokens": 5, "answer": "abcd", "expected": True},
    )
    kinds = {**KINDS, "ranking": ranking}
    with Grader(kinds) as grader:
        graded = grade_pairs(read_pairs(file, kinds), grader)
    assert [row["reward"] for row in graded["rows"]] == [0.5, 1.0, 1.0]
    assert sorted(ranking.groups) == [["ab", "abcd"], ["abcd"]]
    assert sorted(map(str, ranking.tokens)) == ["3", "5", "None"]


def test_what_a_verifier_lacks_is_said(write):
    kinds = {**KINDS, "ranking": Ranking()}
    pairs = read_pairs(write({"verifier": "ranking", "metadata": {"a": 1}, "answer": "x"}), kinds)
    with Grader(kinds) as grader:
        rows = grade_pairs(pairs, grader)["rows"]
    assert list(fault_remarks(pairs, rows, kinds)) == [
        "verifier ranking cannot grade it: it comes without a rubric:"
        " give it `metadata: {rubric: ...}`"
    ]


def test_a_task_of_reasoning_gym_is_graded_with_its_metadata(write):
    source = ReasoningGymSource(source="reasoning_gym", family="spell_backward", count=1)
    [task] = load_source(source)
    row = {"verifier": "reasoning_gym", "reference": task.answer, "metadata": task.metadata}
    pairs = read_pairs(write({**row, "answer": task.answer}, {**row, "answer": "no"}))
    assert [row["reward"] == 1.0 for row in grade_pairs(pairs)["rows"]] == [True, False]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"answer": "a"}, "names no verifier, and has no `rewards`"),
        ({"answer": "a", "verifier": "exact"}, "has no reference"),
        ({"answer": "a", "verifier": "exact", "rewards": PARTS}, "remove one of them"),
        ({"answer": "a", "rewards": [{"verifier": "exakt"}]}, "0: .*'exakt'"),
        ({"answer": "a", "rewards": [{"verifier": "function"}]}, "function.file: Field required"),
        ({"answer": "a", "rewards": [{"verifier": "function", "file": "x.py"}]}, "x.py: cannot be"),
        ({"answer": "a", "verifier": "function", "reference": ""}, "needs settings, 'file'"),
        (
            {"answer": "a", "rewards": [{"verifier": "exact", "weight": 0}]},
            "all parts have weight 0",
        ),
    ],
)
def test_a_row_that_cannot_be_graded_is_named_with_its_line(write, row, problem):
    good = {"verifier": "exact", "reference": "a", "answer": "a"}
    with pytest.raises(BadInput, match=rf"rows\.jsonl:2: .*{problem}"):
        read_pairs(write(good, row))


def test_a_wrong_function_is_bad_input(write, uphill, tmp_path):
    (tmp_path / "mine.py").write_text("def score(answer): return 1")
    code, _, err = uphill("grade", "--file", str(write({"answer": "a", "rewards": PARTS[1:]})))
    assert code == 2 and "mine.py:1: score(answer) cannot be called" in err


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    line = b'\xef\xbb\xbf{"verifier": "number", "reference": "12", "answer": "12"}\r\n'
    (tmp_path / "rows.jsonl").write_bytes(line)
    assert read_pairs(tmp_path / "rows.jsonl")[0].answer == "12"


@pytest.mark.parametrize(
    "row",
    [
        {"verifier": "reasoning_gym", "metadata": {"a": 1}},
        {"rewards": [{"verifier": "exact"}, {"verifier": "reasoning_gym"}]},
    ],
)
def test_what_reasoning_gym_did_not_make_is_not_graded_by_it(write, row):
    with pytest.raises(BadInput, match=r"rows.jsonl:1: reasoning_gym grades only its own"):
        read_pairs(write({**row, "reference": "3", "answer": "3"}))


def test_an_answer_is_right_by_the_first_part_whatever_the_others_say(write, uphill):
    form = {"verifier": "format", "pattern": "[a-z]+", "weight": 0.1}
    row = {"reference": "4", "rewards": [{"verifier": "number"}, form]}
    right, wrong = {"answer": "4", "expected": True}, {"answer": "five", "expected": False}
    file = write({**row, **right}, {**row, **wrong}, {**row, "answer": "4", "expected": False})
    code, out, _ = uphill("grade", "--file", str(file))
    assert code == 0 and "false right: 1 of 2" in out and "false wrong: 0 of 1" in out
    assert out.count("FALSE RIGHT") == 1 and "five" not in out
