"""Early checks of demonstrations and of a person's pairs: who cannot use them is said before
anything runs."""

import json

import pytest

from builders.early_recipes import DENSE, NANO, URL, dense_folder, early_check, prompt, write_recipe
from common.errors import BadInput
from models.nano import CHAT_TEMPLATE
from prompts.parts import NOT_GRADED
from prompts.schema import Prompt

ATTEMPTS = f"{{kind: attempts, {URL}}}"
RUBRIC = (ATTEMPTS, f"{{kind: rubric, {URL}}}")
GRADES = ATTEMPTS.replace("attempts,", "attempts, graded_by: judge,")
RL = "  - {id: rl,"
WHOLE = "message['content'] }}<|end|>"
LAST_PART = "message['content'].split('##')[-1 if not loop.last else 0] }}<|end|>"
FORGETFUL = CHAT_TEMPLATE.replace(WHOLE, LAST_PART)
"""Drops what stands before `##` in earlier answers, which no probe of other words can see."""


def shown(name):
    turns = [("user", "hi"), ("assistant", "hm##hello"), ("user", f"tell {name}")]
    messages = [{"role": role, "content": text} for role, text in turns]
    return Prompt(name, messages, f"so {name}", NOT_GRADED, "words", "mine.jsonl", None, {})


def refused(*arguments, **settings):
    """The message and the remedy of a check that refuses."""
    with pytest.raises(BadInput) as error:
        early_check(*arguments, **settings)
    return error.value.message, error.value.remedy


MIXED = [*map(prompt, "abcdef"), shown("k")]


def test_a_judge_whose_attempts_are_graded_by_verifiers_takes_no_demonstrations(tmp_path):
    message, remedy = refused(write_recipe(tmp_path), MIXED)
    assert message == (
        "stages[0].judges[0]: 1 of 7 prompts are demonstrations: they have no verifier, which"
        " grades answers, such as prompt k"
    )
    assert remedy == "take `kind: rubric`, or set `graded_by: judge`"


@pytest.mark.parametrize("judge", [RUBRIC[1], GRADES])
def test_rl_leaves_demonstrations_out_and_says_so(tmp_path, judge):
    notes = early_check(write_recipe(tmp_path, (ATTEMPTS, judge)), MIXED)["notes"]
    said = "stages[2]: 1 of 7 prompts are demonstrations, which have no verifier: left out"
    assert said in notes


def test_rl_on_nothing_but_demonstrations_is_refused(tmp_path):
    message, _ = refused(write_recipe(tmp_path, RUBRIC), [shown(name) for name in "klm"])
    assert message.startswith("stages[2]: 3 of 3 prompts are demonstrations")
    assert "\n" not in message


def test_held_out_demonstrations_cannot_be_evaluated(tmp_path):
    held_out = [prompt("g"), shown("k")]
    message, remedy = refused(write_recipe(tmp_path, RUBRIC), held_out=held_out)
    said = "evaluate.suites[0]: 1 of 2 held-out prompts are demonstrations"
    assert message.startswith(said) and "\n" not in message
    assert remedy == "give their source `held_out: 0` (mine.jsonl)"


def with_template(tmp_path, template):
    dense_folder(tmp_path / "dense", template)
    return write_recipe(tmp_path, (NANO, DENSE), RUBRIC)


def test_a_template_whose_turns_cannot_be_told_apart_is_refused_where_it_is_trained_on(tmp_path):
    unmarked = FORGETFUL.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    message, remedy = refused(with_template(tmp_path, unmarked), MIXED)
    assert message.startswith("stages[1]: prompt k: the chat template cannot be cut at message 2")
    assert "{% generation %}" in remedy


def test_a_template_that_marks_its_turns_is_taken(tmp_path):
    early_check(with_template(tmp_path, FORGETFUL), MIXED)


def with_pairs(tmp_path, *rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pairs.jsonl").write_text(text)
    dpo = "  - {id: dpo, kind: dpo, from: sft, pairs: {path: pairs.jsonl}, learning_rate: 1e-5}\n"
    return write_recipe(tmp_path, RUBRIC, (RL, dpo + RL))


def test_pairs_of_a_file_are_read_and_measured_before_anything_runs(tmp_path):
    found = early_check(with_pairs(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "b" * 9}))
    (row,) = [row for row in found["asked"] if row["place"] == "stages[2].pairs"]
    assert (row["chats"], row["longest"]) == (2, 13)


def test_a_bad_pair_and_one_that_is_too_long_are_named(tmp_path):
    message, _ = refused(with_pairs(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "a"}))
    assert message.startswith("stages[2].pairs: ")
    assert "pairs.jsonl:1: chosen and rejected are the same answer" in message
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b" * 600}]
    message, _ = refused(with_pairs(tmp_path, *rows))
    assert "(pairs.jsonl:1)" in message and "(604 tokens)" in message
