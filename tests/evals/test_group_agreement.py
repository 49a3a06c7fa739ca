"""How far the answers to prompts that ask the same thing agree."""

import json

import pytest

from builders.evaluations import ScriptedAnswers
from common.errors import BadInput
from evals.agreement import agreement
from evals.answer import Answer
from evals.config import SuiteConfig
from evals.figures import summaries
from evals.parts import PARTS
from evals.protocol import ask
from evals.suites import load_suite
from rewards.grader import Grader

OWN = """\
version: 1
about: Sums in two forms.
source: ours
licence: CC0-1.0
max_tokens: 8
agreement: true
prompts:
  - {path: rows.jsonl, verifier: number, capability: sums, group: sum}
"""


def answer(group, said, correct=False, fault=None):
    shown = ("s", f"{group}-{said}", "c", correct, fault, said, "7", said, 1, "stop")
    return Answer(*shown, group=group)


def shares(*answers):
    found = agreement(answers)
    return found["groups"], found["all_equal"], found["pairs"]


def test_right_answers_agree_however_they_are_written():
    assert shares(answer("a", "7", True), answer("a", "it is seven", True)) == (1, 1.0, 1.0)
    assert shares(answer("a", "7", True), answer("a", "8")) == (1, 0.0, 0.0)


def test_wrong_answers_agree_as_numbers_or_as_texts():
    assert shares(answer("a", "8 books"), answer("a", "8")) == (1, 1.0, 1.0)
    assert shares(answer("a", "Blue."), answer("a", "blue")) == (1, 1.0, 1.0)
    assert shares(answer("a", "8"), answer("a", "9"), answer("a", "8.0")) == (1, 0.0, 1 / 3)


def test_nothing_agrees_with_nothing_and_one_alone_is_no_group():
    assert shares(answer("a", ""), answer("a", " ")) == (1, 0.0, 0.0)
    assert shares(answer("a", "7", True), answer("b", "7", True), answer("", "7")) == (
        0,
        None,
        None,
    )


def test_a_group_with_a_fault_is_left_out():
    found = agreement([answer("a", "7", True), answer("a", "", fault="timeout")])
    assert (found["groups"], found["left_out"], found["all_equal"]) == (0, 1, None)


def own(folder, text=OWN, without=None):
    rows = [
        {
            "id": f"{n}-{form}",
            "prompt": f"q {2 * n + form}",
            "answer": str(n),
            "metadata": {"sum": n},
        }
        for n in range(12)
        for form in (0, 1)
    ]
    if without is not None:
        del rows[without]["metadata"]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.yaml").write_text(text)
    return SuiteConfig.model_validate(str(folder / "sums.yaml"))


def test_a_suite_of_ones_own_has_groups_that_stay_together(tmp_path):
    config = own(tmp_path)
    prompts = load_suite(config, None)
    assert [p.group for p in prompts[:3]] == ["sum:0", "sum:0", "sum:1"]
    # The second form of every other sum is answered wrong.
    replies = {f"q {n}": str(n // 2) if n % 4 != 3 else "99" for n in range(24)}
    answers = ask(ScriptedAnswers(replies), config, prompts, 4, lambda n: None, Grader())
    parts = summaries(answers, config.header.agreement)
    assert sum(parts[part]["agreement"]["groups"] for part in PARTS) == 12
    agreeing = sum(
        parts[p]["agreement"]["all_equal"] * parts[p]["agreement"]["groups"] for p in PARTS
    )
    assert agreeing == pytest.approx(6)
    assert "agreement" not in summaries(answers)["dev"]
    few = load_suite(own(tmp_path).model_copy(update={"limit": 5}), None)
    assert len(few) == 4 and len({p.group for p in few}) == 2


def test_groups_that_are_missing_are_said(tmp_path):
    with pytest.raises(BadInput, match=r"rows.jsonl:4\) has no 'sum' in its metadata"):
        load_suite(own(tmp_path, without=3), None)
    with pytest.raises(BadInput, match="name their `group`"):
        load_suite(own(tmp_path, OWN.replace(", group: sum", "")), None)
    with pytest.raises(BadInput, match="a limit of 3 leaves a part without a question"):
        load_suite(own(tmp_path).model_copy(update={"limit": 3}), None)
